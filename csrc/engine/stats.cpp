#include "engine/stats.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace trtfast {

std::size_t Histogram::class_of(std::uint64_t nanoseconds) noexcept {
  // Below 2^kFineBits each value has a class; above, each octave has 2^kFineBits.
  const auto width = static_cast<unsigned>(std::bit_width(nanoseconds));
  if (width <= kFineBits) return nanoseconds;
  const unsigned octave = width - kFineBits;
  const std::uint64_t fine = (nanoseconds >> (octave - 1)) & ((1U << kFineBits) - 1);
  return std::min((std::size_t{octave} << kFineBits) + fine, kClasses - 1);
}

double Histogram::upper_end(std::size_t index) noexcept {
  const std::size_t octave = index >> kFineBits;
  const std::size_t fine = index & ((1U << kFineBits) - 1);
  const double start = octave == 0 ? static_cast<double>(fine)
                                   : std::ldexp(static_cast<double>(fine + (1U << kFineBits)),
                                                static_cast<int>(octave) - 1);
  const double width = octave == 0 ? 1 : std::ldexp(1, static_cast<int>(octave) - 1);
  return (start + width) * 1e-9;
}

void Histogram::add(Clock::duration duration) noexcept {
  const auto count = std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
  const auto nanoseconds = static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
  counts_[class_of(nanoseconds)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(nanoseconds, std::memory_order_relaxed);
  std::uint64_t largest = largest_.load(std::memory_order_relaxed);
  while (nanoseconds > largest &&
         !largest_.compare_exchange_weak(largest, nanoseconds, std::memory_order_relaxed)) {
  }
}

Histogram::Summary Histogram::summary() const {
  std::array<std::uint64_t, kClasses> counts{};
  Summary summary;
  for (std::size_t index = 0; index < kClasses; ++index) {
    counts[index] = counts_[index].load(std::memory_order_relaxed);
    summary.count += counts[index];
  }
  if (summary.count == 0) return summary;
  summary.max = static_cast<double>(largest_.load(std::memory_order_relaxed)) * 1e-9;
  summary.mean = static_cast<double>(sum_.load(std::memory_order_relaxed)) * 1e-9 /
                 static_cast<double>(summary.count);
  const auto percentile = [&](double share) {
    const auto rank =
        static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(summary.count)));
    std::uint64_t below = 0;
    for (std::size_t index = 0; index < kClasses; ++index) {
      below += counts[index];
      if (below >= rank) return std::min(upper_end(index), summary.max);
    }
    return summary.max;
  };
  summary.p50 = percentile(0.50);
  summary.p90 = percentile(0.90);
  summary.p99 = percentile(0.99);
  return summary;
}

void Histogram::reset() noexcept {
  for (auto& count : counts_) count.store(0, std::memory_order_relaxed);
  sum_.store(0, std::memory_order_relaxed);
  largest_.store(0, std::memory_order_relaxed);
}

void CallStats::add(const Timeline& times) noexcept {
  calls.fetch_add(1, std::memory_order_relaxed);
  queue.add(times.started - times.asked);
  compute_input.add(times.sent - times.started);
  infer.add(times.computed - times.sent);
  output.add(times.done - times.computed);
  total.add(times.done - times.asked);
}

void CallStats::forget_calls() noexcept {
  for (auto* count : {&calls, &failures}) count->store(0, std::memory_order_relaxed);
  for (auto* part : {&queue, &compute_input, &infer, &output, &total}) part->reset();
}

void Stats::reset() noexcept {
  forget_calls();
  for (auto* count : {&graph_hits, &graph_misses, &captures, &uncapturable, &padded}) {
    count->store(0, std::memory_order_relaxed);
  }
}

}  // namespace trtfast
