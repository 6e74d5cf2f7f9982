// Softmax, sigmoid and the best classes on the CPU.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "fake_kernels.h"
#include "kernels/classify.h"
#include "kernels/classify_row.h"

namespace trtfast::kernels {
namespace {

/// One thread that has a row to itself.
struct LoneBlock {
  [[nodiscard]] static std::int64_t thread() { return 0; }
  [[nodiscard]] static std::int64_t threads() { return 1; }
  [[nodiscard]] static std::uint64_t largest(std::uint64_t value) { return value; }
  [[nodiscard]] static float sum(float value) { return value; }
};

struct Half {
  std::uint16_t bits;
  explicit operator float() const {
    const std::uint32_t word = bits;
    const std::uint32_t exponent = (word >> 10U) & 0x1FU;
    const std::uint32_t fraction = word & 0x3FFU;
    const float sign = (word & 0x8000U) != 0 ? -1.0F : 1.0F;
    if (exponent == 0x1FU) return fraction != 0 ? NAN : sign * INFINITY;
    const std::uint32_t whole = exponent != 0 ? fraction + 0x400U : fraction;
    const int scale = static_cast<int>(std::max(exponent, 1U)) - 25;
    return sign * std::ldexp(static_cast<float>(whole), scale);
  }
};

struct Bfloat16 {
  std::uint16_t bits;
  explicit operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16U); }
};

template <class Function>
void with_type(const void* logits, tensorrt::DataType dtype, const Function& function) {
  switch (dtype) {
    case tensorrt::DataType::kHalf: function(static_cast<const Half*>(logits)); break;
    case tensorrt::DataType::kBf16: function(static_cast<const Bfloat16*>(logits)); break;
    default: function(static_cast<const float*>(logits));
  }
}

}  // namespace

bool can_classify(tensorrt::DataType dtype) noexcept {
  using tensorrt::DataType;
  return dtype == DataType::kFloat || dtype == DataType::kHalf || dtype == DataType::kBf16;
}

void softmax(const Logits& logits, float* probabilities, float* peaks, cudaStream_t stream) {
  if (logits.rows == 0) return;
  const std::int64_t count = logits.rows * logits.classes;
  launch("kernels::softmax", stream,
         {range_of(logits.data, logits.dtype, count), range_of(probabilities, count),
          range_of(peaks, logits.rows)},
         [=] {
           with_type(logits.data, logits.dtype, [&](const auto* data) {
             for (std::int64_t row = 0; row < logits.rows; ++row) {
               const std::int64_t at = row * logits.classes;
               softmax_row(data + at, logits.classes, probabilities + at, peaks + row, LoneBlock{});
             }
           });
         });
}

void top_k(const Logits& logits, std::int64_t k, std::int32_t* indices, float* confidences,
           float* peaks, cudaStream_t stream) {
  if (logits.rows == 0) return;
  launch("kernels::top_k", stream,
         {range_of(logits.data, logits.dtype, logits.rows * logits.classes),
          range_of(indices, logits.rows * k), range_of(confidences, logits.rows * k),
          range_of(peaks, logits.rows)},
         [=] {
           with_type(logits.data, logits.dtype, [&](const auto* data) {
             for (std::int64_t row = 0; row < logits.rows; ++row) {
               top_k_row(data + (row * logits.classes), logits.classes, k, indices + (row * k),
                         confidences + (row * k), peaks + row, LoneBlock{});
             }
           });
         });
}

void sigmoid(const void* logits, tensorrt::DataType dtype, std::int64_t count,
             std::optional<float> threshold, void* output, float* peaks, cudaStream_t stream) {
  if (count == 0) return;
  const auto target = threshold ? tensorrt::DataType::kBool : tensorrt::DataType::kFloat;
  launch("kernels::sigmoid", stream,
         {range_of(logits, dtype, count), range_of(output, target, count),
          range_of(peaks, pieces_of(count))},
         [=] {
           with_type(logits, dtype, [&](const auto* data) {
             const auto write = [&](auto* to) {
               for (std::int64_t first = 0; first < count; first += kPiece) {
                 sigmoid_piece(data + first, std::min(kPiece, count - first), threshold.value_or(0),
                               to + first, peaks + (first / kPiece), LoneBlock{});
               }
             };
             if (threshold) {
               write(static_cast<bool*>(output));
             } else {
               write(static_cast<float*>(output));
             }
           });
         });
}

}  // namespace trtfast::kernels
