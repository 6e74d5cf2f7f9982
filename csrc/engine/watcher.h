// Watches for the moments at which something is due, or too late.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "engine/stats.h"

namespace trtfast {

/// A thread, once there is such a moment: those who could see that it passes may be busy for long,
/// or asleep.
class Watcher {
 public:
  /// Sees to what is due or too late, and returns the next moment; the largest for none. Must not
  /// throw.
  using Sweep = std::function<Clock::time_point(Clock::time_point now)>;

  explicit Watcher(Sweep sweep) : sweep_(std::move(sweep)) {}
  ~Watcher() { stop(); }
  Watcher(const Watcher&) = delete;  // its thread holds its address
  Watcher& operator=(const Watcher&) = delete;

  /// Has a sweep come at a moment. May be called with the locks that a sweep takes.
  void note(Clock::time_point moment);

  /// Lets the thread end. May be called again; not with the locks that a sweep takes.
  void stop();

 private:
  void watch();

  Sweep sweep_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Clock::time_point next_ = Clock::time_point::max();
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace trtfast
