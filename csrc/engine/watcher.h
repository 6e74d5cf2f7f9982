// Watches the deadlines of what waits.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "engine/stats.h"

namespace trtfast {

/// A thread, once there is a deadline: those who could see that it passes may be busy for long.
class Watcher {
 public:
  /// Ends what is too late, and returns the next deadline; the largest moment for none. Must not
  /// throw.
  using Sweep = std::function<Clock::time_point(Clock::time_point now)>;

  explicit Watcher(Sweep sweep) : sweep_(std::move(sweep)) {}
  ~Watcher() { stop(); }
  Watcher(const Watcher&) = delete;  // its thread holds its address
  Watcher& operator=(const Watcher&) = delete;

  /// Has a sweep come when a deadline passes. May be called with the locks that a sweep takes.
  void note(Clock::time_point deadline);

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
