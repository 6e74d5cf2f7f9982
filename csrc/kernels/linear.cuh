// OpenCV's linear resampling, which most models are trained with. Its two taps along each axis are
// read where they are: its time is that of its instructions, so a thread asks nothing twice.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/stage.cuh"

namespace trtfast::kernels {

/// Two rows of the source, which a row of the result is made of.
struct Pair {
  const std::uint8_t* rows[2];
  std::int32_t weights[2];
  bool is_padding;  // instead
  bool is_at_end;   // of the image, behind which nothing may be read
};

/// Two columns of the source, which a column of the result is made of.
class Columns {
 public:
  __device__ Columns(const Source& source, const Taps& taps)
      : first_(static_cast<std::ptrdiff_t>(taps.first()) * 3),
        weights_(static_cast<std::uint32_t>(taps.whole(0)) |
                 static_cast<std::uint32_t>(taps.whole(1)) << 16U),
        end_(source.pixels + static_cast<std::ptrdiff_t>(source.height) * source.width * 3) {}

  __device__ void combine(const Pair& pair, int (&rgb)[3]) const {
    Words words[2];
    for (int row = 0; row < 2; ++row) words[row] = read(pair.rows[row] + first_, pair.is_at_end);
    int totals[3]{};
    for (int row = 0; row < 2; ++row) {
      int sums[3];
      weigh(words[row], sums);
      for (int channel = 0; channel < 3; ++channel) {
        totals[channel] += (pair.weights[row] * (sums[channel] >> 4)) >> 16;
      }
    }
    for (int channel = 0; channel < 3; ++channel) {
      rgb[channel] = Math<Arithmetic::kLinear>::value(totals[channel], 0);
    }
  }

  /// A row of the result; `taps` are of the source's rows.
  __device__ static Pair pair_at(const Source& source, const Taps& taps) {
    const auto pitch = static_cast<std::ptrdiff_t>(source.width) * 3;
    const int last = source.height - 1;
    const int top = clamped(taps.first(), last);
    const int bottom = clamped(taps.first() + 1, last);
    return {{source.pixels + top * pitch, source.pixels + bottom * pitch},
            {taps.whole(0), taps.whole(1)},
            taps.count() == 0,
            (last - bottom) * pitch < kBytesRead};
  }

 private:
  static constexpr int kBytesRead = 12;  // from a pixel on, at most

  /// The six bytes of two pixels.
  struct Words {
    std::uint32_t low;
    std::uint32_t high;
  };

  __device__ Words read(const std::uint8_t* pixels, bool is_at_end) const {
    if (is_at_end && pixels + kBytesRead > end_) return read_bytes(pixels);
    const auto address = reinterpret_cast<std::uintptr_t>(pixels);
    const auto* words = reinterpret_cast<const std::uint32_t*>(address & ~std::uintptr_t{3});
    const auto shift = static_cast<unsigned>(address % 4 * 8);
    const std::uint32_t middle = __ldg(words + 1);
    return {__funnelshift_r(__ldg(words), middle, shift),
            __funnelshift_r(middle, __ldg(words + 2), shift)};
  }

  /// What is outside of the image is 0, and has no weight.
  __device__ Words read_bytes(const std::uint8_t* pixels) const {
    Words words{};
    for (int byte = 0; byte < 6; ++byte) {
      const std::uint32_t value = pixels + byte < end_ ? pixels[byte] : 0;
      (byte < 4 ? words.low : words.high) |= value << (byte % 4 * 8);
    }
    return words;
  }

  /// Each channel of both pixels side by side, for one instruction that weighs and adds them.
  __device__ void weigh(const Words& words, int (&sums)[3]) const {
    const std::uint32_t red_green = __byte_perm(words.low, words.high, 0x4130);
    const std::uint32_t blue = __byte_perm(words.low, words.high, 0x5252);
    sums[0] = static_cast<int>(__dp2a_lo(weights_, red_green, 0U));
    sums[1] = static_cast<int>(__dp2a_hi(weights_, red_green, 0U));
    sums[2] = static_cast<int>(__dp2a_lo(weights_, blue, 0U));
  }

  std::ptrdiff_t first_;   // byte of a row
  std::uint32_t weights_;  // 16 bits for each of them
  const std::uint8_t* end_;
};

/// Images that are resampled so; of others it makes nothing.
template <class T>
__global__ void __launch_bounds__(kThreads, blocks_for(Kind::kLinear))
    linear_kernel(const Source* __restrict__ sources, const std::int32_t* __restrict__ tables,
                  const float* __restrict__ normalized, const Format format, int first_image,
                  int most_rows, T* __restrict__ output) {
  __shared__ Pair pairs[kRows];
  __shared__ T values[sizeof(T) == 1 ? 1 : 3 * 256];
  const int image = first_image + static_cast<int>(blockIdx.z);
  const Source source = sources[image];
  if (kind_of(source.arithmetic) != Kind::kLinear) return;
  const int first_row = static_cast<int>(blockIdx.y) * most_rows;
  const int rows = min(most_rows, format.height - first_row);
  const int index = static_cast<int>(threadIdx.x);
  if (index < rows) {
    pairs[index] = Columns::pair_at(source, taps_at(tables, source.rows, first_row + index));
  }
  if constexpr (sizeof(T) > 1) {
    for (int at = index; at < format.depth() * 256; at += kThreads) {
      values[at] = static_cast<T>(normalized[at]);
    }
  }
  __syncthreads();
  const int column = static_cast<int>(blockIdx.x) * kThreads + index;
  if (column >= format.width) return;
  const Taps taps = taps_at(tables, source.columns, column);
  const bool is_padding = taps.count() == 0;
  const Columns columns(source, taps);
  const Writer<T, T> writer(format, values, output, image, first_row, column);
  for (int row = 0; row < rows; ++row) {
    const Pair& pair = pairs[row];
    int rgb[3] = {format.fill[0], format.fill[1], format.fill[2]};
    if (!is_padding && !pair.is_padding) columns.combine(pair, rgb);
    writer.write(row, rgb);
  }
}

}  // namespace trtfast::kernels
