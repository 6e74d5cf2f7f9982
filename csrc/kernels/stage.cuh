// What a block of the resampling kernels works with: rows of the source in shared memory, and a way
// to write the result.
#pragma once

#include <cuda_pipeline.h>

#include <cstddef>
#include <cstdint>

#include "kernels/preprocess.h"

namespace trtfast::kernels {

inline constexpr int kThreads = 256;
inline constexpr int kWarp = 32;
inline constexpr int kVector = 16;       // bytes that a thread loads at once
inline constexpr int kRows = 8;          // of the result, that a block makes at most
inline constexpr int kStage = 30 << 10;  // bytes of shared memory for parts of the source's rows
inline constexpr int kMostStaged = 64;   // of these rows at a time

/// How many threads an SM holds.
constexpr int threads_of_sm() {
#ifndef __CUDA_ARCH__
  return 0;  // where no kernel is compiled
#elif __CUDA_ARCH__ < 800
  return 1024;
#elif __CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200
  return 1536;
#else
  return 2048;
#endif
}

/// How many blocks an SM is to hold: as registers allow.
constexpr int blocks_for(Kind kind) {
  constexpr int kMost = threads_of_sm() / kThreads;
  constexpr int kWanted[] = {8, 6, 3};  // in the order of Kind
  const int wanted = kWanted[static_cast<int>(kind)];
  return wanted < kMost ? wanted : kMost;
}

/// Puts a column's pixels where they belong, normalised.
/// @tparam Value of the table: what a pixel value becomes, for each channel.
template <class T, class Value>
class Writer {
 public:
  __device__ Writer(const Format& format, const Value* normalized, T* output, int image, int row,
                    int column)
      : normalized_(normalized),
        channels_(format.channels),
        channel_(format.layout == Layout::kNchw ? format.height * format.width : 1) {
    const int pixel = format.layout == Layout::kNchw ? 1 : format.depth();
    row_ = format.width * pixel;
    output_ = output + image * format.values() + static_cast<std::size_t>(row) * row_ +
              static_cast<std::size_t>(column) * pixel;
  }

  /// @param row from the first that it was made for.
  __device__ void write(int row, const int (&rgb)[3]) const {
    T* const at = output_ + static_cast<std::size_t>(row) * row_;
    if (channels_ == Channels::kGray) {
      put(at, 0, grey(rgb[0], rgb[1], rgb[2]));
      return;
    }
    const bool swapped = channels_ == Channels::kBgr;
    put(at, 0, swapped ? rgb[2] : rgb[0]);
    put(at, 1, rgb[1]);
    put(at, 2, swapped ? rgb[0] : rgb[2]);
  }

 private:
  __device__ void put(T* at, int channel, int value) const {
    T& target = at[static_cast<std::size_t>(channel) * channel_];
    if constexpr (sizeof(T) == 1) {
      target = static_cast<T>(value);
    } else {
      target = static_cast<T>(normalized_[channel * 256 + value]);
    }
  }

  const Value* normalized_;
  Channels channels_;
  // Values from one channel, and one row, to the next.
  int channel_;
  int row_;
  T* output_;
};

/// The part of the source's rows that a block's columns need.
struct Part {
  int first;   // pixel
  int pixels;  // how many
  int pitch;   // bytes from one staged row to the next
};

/// Begins to copy a part of a row to shared memory, by the threads of a warp, in vectors where they
/// lie within the image. What is outside of it is 0, and has no weight.
/// @return where in `stage` its first pixel is.
__device__ inline int stage_row(const Source& source, int row, const Part& part,
                                std::uint8_t* stage) {
  const auto size = static_cast<std::ptrdiff_t>(source.height) * source.width * 3;
  const auto begin = (static_cast<std::ptrdiff_t>(row) * source.width + part.first) * 3;
  const int shift =
      static_cast<int>((reinterpret_cast<std::uintptr_t>(source.pixels) + begin) % kVector);
  const int vectors = (shift + part.pixels * 3 + kVector - 1) / kVector;
  for (int index = static_cast<int>(threadIdx.x) % kWarp; index < vectors; index += kWarp) {
    const std::ptrdiff_t at = begin - shift + index * kVector;
    auto* target = stage + index * kVector;
    if (at >= 0 && at + kVector <= size) {
      __pipeline_memcpy_async(target, source.pixels + at, kVector);
    } else {
      for (int byte = 0; byte < kVector; ++byte) {
        const std::ptrdiff_t one = at + byte;
        target[byte] = one >= 0 && one < size ? source.pixels[one] : 0;
      }
    }
  }
  return shift;
}

/// Reads a staged row's pixels in order, four of them out of three words.
class Reader {
 public:
  /// @param byte of the first pixel, in the stage.
  __device__ Reader(const std::uint8_t* stage, int byte)
      : words_(reinterpret_cast<const std::uint32_t*>(stage) + byte / 4),
        shift_(byte % 4 * 8),
        last_(*words_) {}

  /// The next four pixels' channels.
  __device__ void next(int (&pixels)[4][3]) {
    const std::uint32_t a = word();
    const std::uint32_t b = word();
    const std::uint32_t c = word();
    split(a, pixels[0]);
    split(__funnelshift_r(a, b, 24), pixels[1]);
    split(__funnelshift_r(b, c, 16), pixels[2]);
    split(c >> 8, pixels[3]);
  }

  __device__ void next(int (&pixels)[1][3]) { split(word(), pixels[0]); }

 private:
  __device__ std::uint32_t word() {
    const std::uint32_t before = last_;
    last_ = *++words_;
    return __funnelshift_r(before, last_, shift_);
  }
  __device__ static void split(std::uint32_t bytes, int (&pixel)[3]) {
    pixel[0] = static_cast<int>(__byte_perm(bytes, 0, 0x4440));
    pixel[1] = static_cast<int>(__byte_perm(bytes, 0, 0x4441));
    pixel[2] = static_cast<int>(__byte_perm(bytes, 0, 0x4442));
  }

  const std::uint32_t* words_;
  unsigned shift_;
  std::uint32_t last_;
};

/// What a block shares.
struct Shared {
  alignas(kVector) std::uint8_t stage[kStage + 2 * kVector];  // a reader looks a little ahead
  int shifts[kMostStaged];                                    // of each staged row's first pixel
  int bounds[2];                                              // of its columns' pixels
  // Of each row of the result: its taps, and of these the rows that none before it has.
  int firsts[kRows];
  int counts[kRows];
  int begins[kRows];
  int offsets[kRows + 1];
};

/// What a block works on: some rows of a part of an image's columns, a thread for each column.
struct Work {
  const Source& source;
  const std::int32_t* tables;
  const Format& format;
  int image;
  int first_row;
  int most_rows;  // up to kRows
  int column;
  Taps columns;
  bool is_column;   // within the result
  bool is_visible;  // within the image, and so no padding
  Part part;
  Shared& shared;

  __device__ int rows() const { return min(most_rows, format.height - first_row); }
  __device__ Taps row(int index) const { return taps_at(tables, source.rows, first_row + index); }
  /// How many rows are staged at once.
  __device__ int at_once() const { return min(kMostStaged, kStage / part.pitch); }

  /// Stages rows, a warp each, and waits until all are there.
  template <class RowAt>
  __device__ void stage(int count, const RowAt& row_at) const {
    for (int slot = static_cast<int>(threadIdx.x) / kWarp; slot < count; slot += kThreads / kWarp) {
      const int shift = stage_row(source, row_at(slot), part, shared.stage + slot * part.pitch);
      if (threadIdx.x % kWarp == 0) shared.shifts[slot] = slot * part.pitch + shift;
    }
    __pipeline_commit();
    __pipeline_wait_prior(0);
    __syncthreads();
  }
  /// Of this thread's pixels in a staged row.
  __device__ Reader reader(int slot) const {
    return {shared.stage, shared.shifts[slot] + (columns.first() - part.first) * 3};
  }
};

}  // namespace trtfast::kernels
