#include "engine/stats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

namespace trtfast::test {
namespace {

using std::chrono::nanoseconds;

constexpr double kNanosecond = 1e-9;

/// Durations from nanoseconds to minutes, of every magnitude alike.
std::vector<std::int64_t> some(std::size_t count, unsigned seed) {
  constexpr double kMagnitudes = 38;
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> magnitude(0, kMagnitudes);
  std::vector<std::int64_t> values(count);
  for (auto& value : values) value = static_cast<std::int64_t>(std::exp2(magnitude(random)));
  return values;
}

/// The value that a share of all does not exceed.
double exact(const std::vector<std::int64_t>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return static_cast<double>(sorted[rank - 1]) * kNanosecond;
}

void expect_close(double given, double wanted) {
  EXPECT_GE(given, wanted * (1 - kNanosecond));
  EXPECT_LE(given, (wanted * (1 + (1.0 / 32))) + kNanosecond);
}

void expect_empty(const Histogram& histogram) {
  const auto summary = histogram.summary();
  EXPECT_EQ(summary.count, 0U);
  for (const double value : {summary.mean, summary.p50, summary.p90, summary.p99, summary.max}) {
    EXPECT_EQ(value, 0);
  }
}

TEST(Histogram, PercentilesAreWithinAThirtySecondOfTheExactOnes) {
  for (const unsigned seed : {1U, 2U, 3U, 4U}) {
    for (const std::size_t count : {1U, 2U, 10U, 99U, 100U, 5000U}) {
      Histogram histogram;
      auto values = some(count, seed);
      for (const auto value : values) histogram.add(nanoseconds(value));
      std::ranges::sort(values);
      const auto summary = histogram.summary();
      EXPECT_EQ(summary.count, count);
      expect_close(summary.p50, exact(values, 0.50));
      expect_close(summary.p90, exact(values, 0.90));
      expect_close(summary.p99, exact(values, 0.99));
      EXPECT_DOUBLE_EQ(summary.max, static_cast<double>(values.back()) * kNanosecond);
      const double sum = std::accumulate(values.begin(), values.end(), 0.0);
      EXPECT_NEAR(summary.mean, sum * kNanosecond / static_cast<double>(count),
                  1e-12 * sum * kNanosecond);
    }
  }
}

TEST(Histogram, ASummaryIsInOrder) {
  Histogram histogram;
  for (const auto value : some(1000, 5)) histogram.add(nanoseconds(value));
  const auto summary = histogram.summary();
  EXPECT_LE(summary.p50, summary.p90);
  EXPECT_LE(summary.p90, summary.p99);
  EXPECT_LE(summary.p99, summary.max);
}

// Those on both sides of where the classes double their width.
TEST(Histogram, EveryMagnitudeHasItsClasses) {
  for (unsigned bits = 1; bits < 43; ++bits) {
    for (const std::int64_t offset : {-1, 0, 1}) {
      const auto value = static_cast<std::int64_t>(std::uint64_t{1} << bits) + offset;
      Histogram histogram;
      histogram.add(nanoseconds(value));
      histogram.add(std::chrono::hours(300));  // so that the largest is no bound
      expect_close(histogram.summary().p50, static_cast<double>(value) * kNanosecond);
    }
  }
}

TEST(Histogram, TakesTheLargestAndTheSmallest) {
  Histogram histogram;
  histogram.add(nanoseconds(-5));  // no duration, but no reason to fail either
  histogram.add(nanoseconds(0));
  EXPECT_EQ(histogram.summary().count, 2U);
  EXPECT_EQ(histogram.summary().max, 0);
  EXPECT_EQ(histogram.summary().p99, 0);
  histogram.add(std::chrono::hours(1000));
  EXPECT_DOUBLE_EQ(histogram.summary().max, 3.6e6);
  EXPECT_LE(histogram.summary().p99, 3.6e6);
}

TEST(Histogram, IsEmptyAtFirstAndAfterAReset) {
  Histogram histogram;
  expect_empty(histogram);
  histogram.add(std::chrono::milliseconds(3));
  histogram.reset();
  expect_empty(histogram);
  histogram.add(std::chrono::milliseconds(1));
  EXPECT_DOUBLE_EQ(histogram.summary().max, 1e-3);
  EXPECT_DOUBLE_EQ(histogram.summary().p50, 1e-3);
}

TEST(Histogram, AnyNumberOfThreadsMayAdd) {
  constexpr std::int64_t kThreads = 4;
  constexpr std::int64_t kEach = 5000;
  Histogram histogram;
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (std::int64_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::int64_t i = 1; i <= kEach; ++i) {
          histogram.add(nanoseconds((thread * kEach) + i));
          if (i % 500 == 0) {
            EXPECT_LE(histogram.summary().max, kThreads * kEach * kNanosecond);
          }
        }
      });
    }
  }
  const auto summary = histogram.summary();
  EXPECT_EQ(summary.count, static_cast<std::uint64_t>(kThreads * kEach));
  EXPECT_DOUBLE_EQ(summary.max, kThreads * kEach * kNanosecond);
  EXPECT_NEAR(summary.mean, ((kThreads * kEach) + 1) * kNanosecond / 2, 1e-12);
  expect_close(summary.p50, kThreads * kEach * kNanosecond / 2);
}

TEST(Stats, ACallAddsToEachOfItsParts) {
  Stats stats;
  Timeline times;
  const auto at = [&](int milliseconds) {
    return times.asked + std::chrono::milliseconds(milliseconds);
  };
  times.started = at(1);
  times.sent = at(3);
  times.computed = at(7);
  times.done = at(15);
  stats.add(times);
  EXPECT_EQ(stats.calls, 1U);
  EXPECT_DOUBLE_EQ(stats.queue.summary().max, 1e-3);
  EXPECT_DOUBLE_EQ(stats.compute_input.summary().max, 2e-3);
  EXPECT_DOUBLE_EQ(stats.infer.summary().max, 4e-3);
  EXPECT_DOUBLE_EQ(stats.output.summary().max, 8e-3);
  EXPECT_DOUBLE_EQ(stats.total.summary().max, 15e-3);
  stats.padded = 3;
  stats.reset();
  EXPECT_EQ(stats.calls, 0U);
  EXPECT_EQ(stats.padded, 0U);
  EXPECT_EQ(stats.total.summary().count, 0U);
}

}  // namespace
}  // namespace trtfast::test
