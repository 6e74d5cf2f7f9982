// Calls that run on threads of the engine's own, as many as it has lanes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/lane_pool.h"
#include "engine/watcher.h"

namespace trtfast {

class AsyncCalls {
 public:
  /// Runs a request on a lane that it gets when the place's turn has come.
  using Run = std::function<std::vector<Tensor>(const Request&, LanePool::Place, const Deadline&,
                                                Timeline&)>;
  using Done = std::function<void(Outcome)>;

  AsyncCalls(Run run, std::size_t threads)
      : run_(std::move(run)), limit_(threads), watcher_([this](auto now) { return sweep(now); }) {}
  ~AsyncCalls() { stop(); }
  AsyncCalls(const AsyncCalls&) = delete;  // its threads hold its address
  AsyncCalls& operator=(const AsyncCalls&) = delete;

  /// @param enter takes the call's place, so that places and calls are in the same order: else a
  ///   thread could wait for the turn of a call behind one that has no thread yet.
  /// @param deadline if it passes before a thread has begun the call, the call ends then.
  /// @param done is called once, from another thread, and must not throw; not at all if the call is
  ///   cancelled.
  /// @return the call's number.
  std::uint64_t add(Request request, const std::function<LanePool::Place()>& enter,
                    const Deadline& deadline, Done done);

  /// Takes back a call that no thread has begun.
  /// @return whether it was taken back.
  bool cancel(std::uint64_t number);

  /// Ends the calls that no thread has begun, whose places must be refused by now, and the threads
  /// with the calls under way. None may be added any more.
  void stop();

 private:
  struct Call {
    std::uint64_t number;
    Request request;
    LanePool::Place place;
    Deadline deadline;
    Timeline times;
    Done done;
  };

  void work();
  [[nodiscard]] Clock::time_point sweep(Clock::time_point now);
  void finish(Call& call);

  Run run_;
  std::size_t limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Call> waiting_;
  std::uint64_t next_ = 0;
  std::size_t idle_ = 0;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
  Watcher watcher_;
};

}  // namespace trtfast
