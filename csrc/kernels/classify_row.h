// What the kernels of classify.h do with one row: CUDA's threads together on the GPU, and one
// thread alone where there is none, so that tests on the CPU run the same arithmetic.
//
// A Block tells each of its threads which of how many it is, and gives all of them the largest or
// the sum of what each has. Its threads go through these functions side by side.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __CUDACC__
#define TRTFAST_ANYWHERE __host__ __device__
#else
#define TRTFAST_ANYWHERE
#endif

namespace trtfast::kernels {

/// Orders the classes of a row: the larger the logit the larger the key, and of equals the first
/// has the largest. NaN is above all. No key is 0, nor has all of its bits set.
TRTFAST_ANYWHERE inline std::uint64_t key_of(float logit, std::int64_t index) {
  constexpr std::uint32_t kSign = 0x80000000U;
  std::uint32_t bits = 0x7FC00000U;  // one NaN for all, whatever their sign
  if (!std::isnan(logit)) {
    const float value = logit + 0.0F;  // -0 is 0
    std::memcpy(&bits, &value, sizeof(bits));
  }
  // As integers, floats are in their order; the negative ones backwards.
  bits = (bits & kSign) != 0 ? ~bits : bits | kSign;
  return (std::uint64_t{bits} << 32U) | (0xFFFFFFFFU - static_cast<std::uint32_t>(index));
}

TRTFAST_ANYWHERE inline float logit_of(std::uint64_t key) {
  constexpr std::uint32_t kSign = 0x80000000U;
  auto bits = static_cast<std::uint32_t>(key >> 32U);
  bits = (bits & kSign) != 0 ? bits & ~kSign : ~bits;
  float logit = 0;
  std::memcpy(&logit, &bits, sizeof(logit));
  return logit;
}

TRTFAST_ANYWHERE inline std::int32_t index_of(std::uint64_t key) {
  return static_cast<std::int32_t>(0xFFFFFFFFU - static_cast<std::uint32_t>(key));
}

/// The largest key of a row below another.
template <class T, class Block>
TRTFAST_ANYWHERE std::uint64_t next_key(const T* logits, std::int64_t classes, std::uint64_t below,
                                        const Block& block) {
  std::uint64_t best = 0;
  for (std::int64_t at = block.thread(); at < classes; at += block.threads()) {
    const std::uint64_t key = key_of(static_cast<float>(logits[at]), at);
    if (key < below && key > best) best = key;
  }
  return block.largest(best);
}

template <class T, class Block>
TRTFAST_ANYWHERE std::uint64_t first_key(const T* logits, std::int64_t classes,
                                         const Block& block) {
  return next_key(logits, classes, ~std::uint64_t{0}, block);
}

/// The sum of exp(x - peak).
template <class T, class Block>
TRTFAST_ANYWHERE float sum_of_powers(const T* logits, std::int64_t classes, float peak,
                                     const Block& block) {
  float sum = 0;
  for (std::int64_t at = block.thread(); at < classes; at += block.threads()) {
    sum += std::exp(static_cast<float>(logits[at]) - peak);
  }
  return block.sum(sum);
}

template <class T, class Block>
TRTFAST_ANYWHERE void softmax_row(const T* logits, std::int64_t classes, float* probabilities,
                                  float* peaks, const Block& block) {
  const float peak = logit_of(first_key(logits, classes, block));
  const float sum = sum_of_powers(logits, classes, peak, block);
  for (std::int64_t at = block.thread(); at < classes; at += block.threads()) {
    probabilities[at] = std::exp(static_cast<float>(logits[at]) - peak) / sum;
  }
  if (block.thread() == 0) *peaks = peak;
}

template <class T, class Block>
TRTFAST_ANYWHERE void top_k_row(const T* logits, std::int64_t classes, std::int64_t k,
                                std::int32_t* indices, float* confidences, float* peaks,
                                const Block& block) {
  std::uint64_t key = first_key(logits, classes, block);
  const float peak = logit_of(key);
  const float sum = sum_of_powers(logits, classes, peak, block);
  if (block.thread() == 0) *peaks = peak;
  for (std::int64_t place = 0; place < k; ++place) {
    if (place > 0) key = next_key(logits, classes, key, block);
    if (block.thread() == 0) {
      indices[place] = index_of(key);
      confidences[place] = std::exp(logit_of(key) - peak) / sum;
    }
  }
}

/// @tparam Out float for the values, bool for whether they are at least the threshold.
template <class T, class Out, class Block>
TRTFAST_ANYWHERE void sigmoid_piece(const T* logits, std::int64_t count,
                                    [[maybe_unused]] float threshold, Out* output, float* peaks,
                                    const Block& block) {
  std::uint64_t best = 0;
  for (std::int64_t at = block.thread(); at < count; at += block.threads()) {
    const auto logit = static_cast<float>(logits[at]);
    const float power = std::exp(-std::abs(logit));  // at most 1: nothing overflows
    const float value = (logit >= 0 ? 1.0F : power) / (1.0F + power);
    if constexpr (std::is_same_v<Out, bool>) {
      output[at] = value >= threshold;
    } else {
      output[at] = value;
    }
    const std::uint64_t key = key_of(logit, at);
    best = key > best ? key : best;
  }
  best = block.largest(best);
  if (block.thread() == 0) *peaks = logit_of(best);
}

}  // namespace trtfast::kernels
