// What an engine counts while it serves: calls, and how long each part of a call took.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace trtfast {

using Clock = std::chrono::steady_clock;

/// Durations, counted in classes of which none is wider than 1/32 of its values. Any number of
/// threads may add without waiting.
class Histogram {
 public:
  struct Summary {
    std::uint64_t count = 0;
    double mean = 0;  // seconds, as are the others
    double p50 = 0;
    double p90 = 0;
    double p99 = 0;
    double max = 0;
  };

  void add(Clock::duration duration) noexcept;
  [[nodiscard]] Summary summary() const;
  void reset() noexcept;

 private:
  static constexpr unsigned kFineBits = 5;
  static constexpr unsigned kOctaves = 40;  // up to 2^40 ns, which is 18 minutes
  static constexpr std::size_t kClasses = std::size_t{kOctaves} << kFineBits;

  [[nodiscard]] static std::size_t class_of(std::uint64_t nanoseconds) noexcept;
  [[nodiscard]] static double upper_end(std::size_t index) noexcept;  // in seconds

  std::array<std::atomic<std::uint64_t>, kClasses> counts_{};
  std::atomic<std::uint64_t> sum_ = 0;
  std::atomic<std::uint64_t> largest_ = 0;
};

/// The moments of a call. Between them lie Triton's four parts: queue, compute input, infer,
/// output.
struct Timeline {
  Clock::time_point asked = Clock::now();
  Clock::time_point started;   // it has a lane
  Clock::time_point sent;      // its inputs are on their way to the device
  Clock::time_point computed;  // its outputs are in page-locked memory, or on the device
  Clock::time_point done;      // and where the caller wants them
};

struct CallStats {
  std::atomic<std::uint64_t> calls = 0;
  std::atomic<std::uint64_t> failures = 0;
  Histogram queue;
  Histogram compute_input;
  Histogram infer;
  Histogram output;
  Histogram total;

  void add(const Timeline& times) noexcept;
  void forget_calls() noexcept;
};

struct Stats : CallStats {
  std::atomic<std::uint64_t> graph_hits = 0;    // runs that were one launch of a graph
  std::atomic<std::uint64_t> graph_misses = 0;  // runs that were submitted layer by layer
  std::atomic<std::uint64_t> captures = 0;
  std::atomic<std::uint64_t> uncapturable = 0;  // captures that failed
  std::atomic<std::uint64_t> padded = 0;        // calls that ran in a larger bucket

  void reset() noexcept;
};

}  // namespace trtfast
