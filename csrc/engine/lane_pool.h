// The lanes of an engine: each call borrows one, in the order of arrival.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "engine/lane.h"
#include "engine/stats.h"

namespace trtfast {

/// The moment until which a call may wait for a lane; none for ever.
using Deadline = std::optional<Clock::time_point>;

class LanePool {
 public:
  using Make = std::function<std::unique_ptr<Lane>()>;
  using Drop = std::function<void(std::unique_ptr<Lane>)>;

  /// Makes the first lane at once; the others when calls first overlap.
  /// @param max_queue how many calls may wait; none for any number.
  LanePool(Make make, Drop drop, std::size_t lanes, std::optional<std::size_t> max_queue);

  /// A lane that is borrowed while this object lives.
  class Lease {
   public:
    Lease(LanePool& pool, std::unique_ptr<Lane> lane) : pool_(&pool), lane_(std::move(lane)) {}
    Lease(Lease&& other) noexcept = default;
    Lease(const Lease&) = delete;  // given back once
    Lease& operator=(const Lease&) = delete;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (lane_ != nullptr) pool_->give_back(std::move(lane_));
    }
    [[nodiscard]] Lane* operator->() const noexcept { return lane_.get(); }

   private:
    LanePool* pool_;
    std::unique_ptr<Lane> lane_;
  };

  /// A place in the queue, taken when a call arrives; lease() then waits for its turn.
  class Place {
   public:
    Place(Place&& other) noexcept;
    Place(const Place&) = delete;  // left once
    Place& operator=(const Place&) = delete;
    Place& operator=(Place&&) = delete;
    ~Place();

    /// @throws ClosedError, also to those that wait when the pool is closed; DeadlineExceededError.
    [[nodiscard]] Lease lease(const Deadline& deadline = {}) &&;

   private:
    friend class LanePool;
    struct Turn;
    Place(LanePool& pool, std::unique_ptr<Turn> turn);

    LanePool* pool_;
    std::unique_ptr<Turn> turn_;
  };

  /// @throws QueueFullError, ClosedError
  [[nodiscard]] Place enter() { return enter(max_queue_); }

  /// For those whose number is bounded elsewhere.
  /// @throws ClosedError
  [[nodiscard]] Place enter_any_queue() { return enter(std::nullopt); }

  /// Every lane, one after the other, made if need be: for what has to be done to each.
  void for_each(const std::function<void(Lane&)>& function);

  /// What each lane that was made holds; waits for no call.
  [[nodiscard]] std::vector<LaneMemory> memory();

  /// Refuses new calls, and those that wait.
  void refuse();

  /// Refuses calls, waits for those under way, and frees the lanes. May be called again.
  void close();

 private:
  [[nodiscard]] Place enter(std::optional<std::size_t> max_queue);
  void give_back(std::unique_ptr<Lane> lane) noexcept;
  void serve() noexcept;
  void check_open() const;

  Make make_;
  Drop drop_;
  std::size_t limit_;
  std::optional<std::size_t> max_queue_;
  std::mutex each_;  // of the one who holds every lane
  std::mutex mutex_;
  std::condition_variable all_back_;
  std::vector<std::unique_ptr<Lane>> free_;
  std::vector<const Lane*> all_;
  std::size_t made_ = 1;  // the constructor makes the first
  std::list<Place::Turn*> waiting_;
  bool closed_ = false;
};

}  // namespace trtfast
