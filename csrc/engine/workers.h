// Threads that look for something to do.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "engine/stats.h"

namespace trtfast {

/// Threads that rest where there is nothing to do. As many are started as were needed at once, and
/// the last to rest is the first to be called, since its core is still awake.
///
/// All but call() is done under one lock of the owner's, which guards what there is to do as well.
class Workers {
 public:
  struct Worker {
    std::condition_variable called;
    bool is_called = false;
    std::thread thread = {};
  };
  /// What each does until it returns: looks for something to do, does it, and else rests.
  using Work = std::function<void(Worker&)>;

  /// @param most how many there are at most.
  /// @param awake how long one of those who rest does not sleep but looks whether it is called,
  ///   which then takes no time.
  Workers(std::size_t most, Clock::duration awake, Work work)
      : most_(most), awake_(awake), work_(std::move(work)) {}
  ~Workers() = default;
  Workers(const Workers&) = delete;  // threads hold its address
  Workers& operator=(const Workers&) = delete;

  /// Has one at least, who is there when it is needed.
  /// @throws std::system_error where the system has no thread for it.
  void have_one();

  /// Has another look for what there is to do: one that rests, or a new one. Where all are busy, or
  /// the system has no more threads, one of them will. Asked again before that one has looked, it
  /// may be the same: who finds more than it does asks again.
  /// @return whom to call, best without the lock; null for nobody.
  [[nodiscard]] Worker* another();
  static void call(Worker* worker) noexcept;
  void call_all() noexcept;

  /// Waits until there may be something to do.
  void rest(Worker& worker, std::unique_lock<std::mutex>& lock);

  /// Waits until all have ended. May be called again.
  void join(std::unique_lock<std::mutex>& lock);

 private:
  void start();

  std::size_t most_;
  Clock::duration awake_;
  Work work_;
  std::list<Worker> workers_;  // until the end: who calls one may be about to
  std::vector<Worker*> sleepers_;
  bool is_looking_ = false;  // whether one that rests does
  std::atomic<bool> is_told_ = false;
};

}  // namespace trtfast
