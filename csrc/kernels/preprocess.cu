#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/check.h"
#include "kernels/linear.cuh"
#include "kernels/preprocess.h"
#include "kernels/stage.cuh"
#include "kernels/stretch.h"

namespace trtfast::kernels {
namespace {

template <class T>
using Out = Writer<T, float>;

template <class T>
__device__ void write(const Out<T>& writer, const Work& work, int row, const int (&rgb)[3]) {
  if (work.is_column) writer.write(row, rgb);
}

template <class T>
__device__ void write_padding(const Out<T>& writer, const Work& work, int row) {
  const auto& fill = work.format.fill;
  write<T>(writer, work, row, {fill[0], fill[1], fill[2]});
}

template <Arithmetic arithmetic, class T>
__device__ void write_total(const Out<T>& writer, const Work& work, int row,
                            const typename Math<arithmetic>::Total (&totals)[3]) {
  int rgb[3];
  for (int channel = 0; channel < 3; ++channel) {
    rgb[channel] = Math<arithmetic>::value(totals[channel], work.source.share);
  }
  write<T>(writer, work, row, rgb);
}

// Pixels are read where they are: for rows before columns, which need all rows at hand, and for
// parts of rows that are too long to be staged.
template <Arithmetic arithmetic, class T>
__device__ void resample_unstaged(const Work& work, const Out<T>& writer) {
  for (int row = 0; row < work.rows(); ++row) {
    const Taps rows = work.row(row);
    if (work.is_visible && rows.count() > 0) {
      int rgb[3];
      resample_directly<arithmetic>(work.source, rows, work.columns, rgb);
      write<T>(writer, work, row, rgb);
    } else {
      write_padding<T>(writer, work, row);
    }
  }
}

// A fixed, small number of taps: the rows of each row of the result are staged one after another,
// as many at a time as there is room for.
template <Arithmetic arithmetic, class T>
__device__ void resample_few(const Work& work, const Out<T>& writer) {
  using M = Math<arithmetic>;
  constexpr int kTaps = fixed_taps(arithmetic);
  constexpr int kStep = kTaps < 4 ? kTaps : 4;
  int weights[kTaps];
  for (int tap = 0; tap < kTaps; ++tap) {
    weights[tap] = work.is_visible ? work.columns.whole(tap) : 0;
  }
  const int needed = work.rows() * kTaps;
  // All of a row's taps together, if there is room.
  const int at_once = work.at_once() > kTaps ? work.at_once() / kTaps * kTaps : work.at_once();
  typename M::Total totals[3]{};
  for (int first = 0; first < needed; first += at_once) {
    const int end = min(needed, first + at_once);
    work.stage(end - first, [&](int slot) {
      const int next = first + slot;
      const int row = work.row(next / kTaps).first() + tap_at<arithmetic>(next % kTaps, kTaps);
      return clamped(row, work.source.height - 1);
    });
    for (int next = first; next < end; ++next) {
      const int turn = next % kTaps;
      const Taps rows = work.row(next / kTaps);
      const bool is_visible = work.is_visible && rows.count() > 0;
      if (is_visible) {
        Reader reader = work.reader(next - first);
        int sums[3]{};
        for (int tap = 0; tap < kTaps; tap += kStep) {
          int pixels[kStep][3];
          reader.next(pixels);
          for (int step = 0; step < kStep; ++step) {
            for (int channel = 0; channel < 3; ++channel) {
              sums[channel] += weights[tap + step] * pixels[step][channel];
            }
          }
        }
        for (int channel = 0; channel < 3; ++channel) {
          M::add_row(totals[channel], rows, tap_at<arithmetic>(turn, kTaps), sums[channel]);
        }
      }
      if (turn < kTaps - 1) continue;
      if (is_visible) {
        write_total<arithmetic, T>(writer, work, next / kTaps, totals);
      } else {
        write_padding<T>(writer, work, next / kTaps);
      }
      for (auto& total : totals) total = {};
    }
    __syncthreads();
  }
}

/// Finds which rows of the source a block needs, each once.
__device__ void list_rows(const Work& work) {
  Shared& shared = work.shared;
  if (threadIdx.x == 0) {
    int end = 0;  // of the rows listed so far
    shared.offsets[0] = 0;
    for (int row = 0; row < kRows; ++row) {
      const bool is_row = row < work.rows();
      const int first = is_row ? work.row(row).first() : 0;
      const int count = is_row ? work.row(row).count() : 0;
      const int begin = max(first, end);
      shared.firsts[row] = first;
      shared.counts[row] = count;
      shared.begins[row] = begin;
      shared.offsets[row + 1] = shared.offsets[row] + max(0, first + count - begin);
      end = max(end, first + count);
    }
  }
  __syncthreads();
}

/// A position of that list: the row of the source, and the first row of the result that it belongs
/// to.
struct Listed {
  int source;
  int result;
};

__device__ Listed at_position(const Shared& shared, int position) {
  int row = 0;
  while (position >= shared.offsets[row + 1]) ++row;
  return {shared.begins[row] + position - shared.offsets[row], row};
}

// As many taps as sizes ask for, of rows that follow one another: each is staged and combined once,
// and added to all rows of the result that it belongs to.
template <Arithmetic arithmetic, class T>
__device__ void resample_many(const Work& work, const Out<T>& writer) {
  using M = Math<arithmetic>;
  const Shared& shared = work.shared;
  list_rows(work);
  const int needed = shared.offsets[kRows];
  const int taps = work.is_visible ? work.columns.count() : 0;
  typename M::Total totals[kRows][3]{};
  for (int first = 0; first < needed; first += work.at_once()) {
    const int end = min(needed, first + work.at_once());
    work.stage(end - first, [&](int slot) { return at_position(shared, first + slot).source; });
    for (int next = first; next < end && work.is_visible; ++next) {
      Reader reader = work.reader(next - first);
      typename M::Row sums[3]{};
      for (int tap = 0; tap < taps; tap += 4) {
        int pixels[4][3];
        reader.next(pixels);
        for (int step = 0; step < 4; ++step) {  // weights of 0 follow the last
          for (int channel = 0; channel < 3; ++channel) {
            M::add(sums[channel], work.columns, tap + step, pixels[step][channel]);
          }
        }
      }
      const Listed listed = at_position(shared, next);
      int last = listed.result;  // of the rows of the result that it belongs to
      while (last + 1 < kRows && listed.source >= shared.firsts[last + 1] &&
             listed.source < shared.firsts[last + 1] + shared.counts[last + 1]) {
        ++last;
      }
#pragma unroll
      for (int row = 0; row < kRows; ++row) {
        if (row < listed.result || row > last) continue;
        for (int channel = 0; channel < 3; ++channel) {
          M::add_row(totals[row][channel], work.row(row), listed.source - shared.firsts[row],
                     M::end(sums[channel]));
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    if (row >= work.rows()) continue;
    if (work.is_visible && shared.counts[row] > 0) {
      write_total<arithmetic, T>(writer, work, row, totals[row]);
    } else {
      write_padding<T>(writer, work, row);
    }
  }
}

template <Arithmetic arithmetic, class T>
__device__ void resample(const Work& work, const Out<T>& writer) {
  if (work.part.pitch > kStage || work.source.rows_first) {
    resample_unstaged<arithmetic, T>(work, writer);
  } else if constexpr (fixed_taps(arithmetic) > 0) {
    resample_few<arithmetic, T>(work, writer);
  } else {
    resample_many<arithmetic, T>(work, writer);
  }
}

/// Finds the part of a row that the taps of a block's columns are in; none where all are padding.
__device__ Part part_of(const Work& work) {
  auto& bounds = work.shared.bounds;
  if (threadIdx.x == 0) bounds[1] = -1;
  __syncthreads();
  if (work.is_visible) {  // taps move to the right with columns, and padding is at the ends alone
    const auto is_padding = [&](int column) {
      return taps_at(work.tables, work.source.columns, column).count() == 0;
    };
    const int fixed = fixed_taps(work.source.arithmetic);
    if (threadIdx.x == 0 || is_padding(work.column - 1)) bounds[0] = work.columns.first();
    if (threadIdx.x == kThreads - 1 || work.column == work.format.width - 1 ||
        is_padding(work.column + 1)) {
      bounds[1] = work.columns.first() + max(fixed, work.columns.count());
    }
  }
  __syncthreads();
  const int pixels = bounds[1] < 0 ? 0 : bounds[1] - bounds[0];
  return {bounds[0], pixels, (pixels * 3 + 2 * kVector - 1) / kVector * kVector};
}

/// Images with few taps, or those with many: a kernel for each, since many need many registers.
template <class T, Kind kind>
__global__ void __launch_bounds__(kThreads, blocks_for(kind))
    preprocess_kernel(const Source* __restrict__ sources, const std::int32_t* __restrict__ tables,
                      const float* __restrict__ normalized, const Format format, int first_image,
                      int most_rows, T* __restrict__ output) {
  __shared__ Shared shared;
  const int image = first_image + static_cast<int>(blockIdx.z);
  const Source source = sources[image];
  if (kind_of(source.arithmetic) != kind) return;  // another kernel's
  const int column = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const bool is_column = column < format.width;
  const Taps columns = taps_at(tables, source.columns, is_column ? column : 0);
  Work work{source,    tables, format,  image,     static_cast<int>(blockIdx.y) * most_rows,
            most_rows, column, columns, is_column, is_column && columns.count() > 0,
            {},        shared};
  work.part = part_of(work);
  const Out<T> writer(format, normalized, output, image, work.first_row, column);
  if (work.part.pixels == 0) {
    for (int row = 0; row < work.rows(); ++row) write_padding<T>(writer, work, row);
    return;
  }
  if constexpr (kind == Kind::kFew) {
    switch (source.arithmetic) {
      case Arithmetic::kCopy: resample<Arithmetic::kCopy, T>(work, writer); break;
      case Arithmetic::kCubic: resample<Arithmetic::kCubic, T>(work, writer); break;
      default: resample<Arithmetic::kLanczos, T>(work, writer);
    }
  } else {
    switch (source.arithmetic) {
      case Arithmetic::kArea: resample<Arithmetic::kArea, T>(work, writer); break;
      case Arithmetic::kBox: resample<Arithmetic::kBox, T>(work, writer); break;
      default: resample<Arithmetic::kPillow, T>(work, writer);
    }
  }
}

template <class T>
void launch(const Source* sources, std::int64_t count, const Kinds& kinds,
            const std::int32_t* tables, const float* normalized, const Format& format, T* output,
            cudaStream_t stream) {
  constexpr std::int64_t kMostImages = 65535;  // a grid's largest z
  const auto columns = static_cast<unsigned>((format.width + kThreads - 1) / kThreads);
  // Many rows share what a block does once; but a few images are to keep all SMs busy, too.
  constexpr std::int64_t kBusy = 512;  // blocks
  const std::int64_t all_rows = count * format.height * columns;
  const int most_rows = static_cast<int>(
      all_rows < kBusy ? 1 : (all_rows / kBusy < kRows ? all_rows / kBusy : kRows));
  const auto rows = static_cast<unsigned>((format.height + most_rows - 1) / most_rows);
  for (std::int64_t first = 0; first < count; first += kMostImages) {
    const auto now =
        static_cast<unsigned>(count - first < kMostImages ? count - first : kMostImages);
    const dim3 grid(columns, rows, now);
    if (kinds.has(Kind::kLinear)) {
      linear_kernel<T><<<grid, kThreads, 0, stream>>>(sources, tables, normalized, format,
                                                      static_cast<int>(first), most_rows, output);
      TRTFAST_CUDA(cudaGetLastError());
    }
    if (kinds.has(Kind::kFew)) {
      preprocess_kernel<T, Kind::kFew><<<grid, kThreads, 0, stream>>>(
          sources, tables, normalized, format, static_cast<int>(first), most_rows, output);
      TRTFAST_CUDA(cudaGetLastError());
    }
    if (kinds.has(Kind::kMany)) {
      preprocess_kernel<T, Kind::kMany><<<grid, kThreads, 0, stream>>>(
          sources, tables, normalized, format, static_cast<int>(first), most_rows, output);
      TRTFAST_CUDA(cudaGetLastError());
    }
  }
}

}  // namespace

bool can_preprocess_to(tensorrt::DataType dtype) noexcept {
  using tensorrt::DataType;
  return dtype == DataType::kFloat || dtype == DataType::kHalf || dtype == DataType::kBf16 ||
         dtype == DataType::kUint8;
}

void preprocess(const Source* sources, std::int64_t count, const Kinds& kinds,
                const std::int32_t* tables, const float* normalized, const Format& format,
                const Scratch& scratch, void* output, tensorrt::DataType dtype,
                cudaStream_t stream) {
  if (count == 0) return;
  const auto run = [&](auto* target) {
    launch(sources, count, kinds, tables, normalized, format, target, stream);
  };
  if (dtype == tensorrt::DataType::kUint8) {
    run(static_cast<std::uint8_t*>(output));
  } else if (normalized == nullptr) {
    run(scratch.pixels);
    stretch(count, format.values(), scratch, output, dtype, stream);
  } else if (dtype == tensorrt::DataType::kHalf) {
    run(static_cast<__half*>(output));
  } else if (dtype == tensorrt::DataType::kBf16) {
    run(static_cast<__nv_bfloat16*>(output));
  } else {
    run(static_cast<float*>(output));
  }
}

}  // namespace trtfast::kernels
