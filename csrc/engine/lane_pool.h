// The lanes of an engine: each call borrows one, in the order of arrival.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/lane.h"
#include "engine/plan.h"

namespace trtfast {

class LanePool {
 public:
  /// Makes the first lane at once; the others when calls first overlap.
  LanePool(std::shared_ptr<const Plan> plan, std::size_t lanes);

  /// A lane that is borrowed while this object lives.
  class Lease {
   public:
    Lease(LanePool& pool, std::unique_ptr<Lane> lane) : pool_(pool), lane_(std::move(lane)) {}
    ~Lease() { pool_.give_back(std::move(lane_)); }
    Lease(const Lease&) = delete;  // given back once
    Lease& operator=(const Lease&) = delete;
    [[nodiscard]] Lane* operator->() const noexcept { return lane_.get(); }

   private:
    LanePool& pool_;
    std::unique_ptr<Lane> lane_;
  };

  /// Waits for a free lane.
  /// @throws ClosedError, also in those that wait when the pool is closed.
  [[nodiscard]] Lease acquire();

  /// Refuses new calls, waits for those under way, and frees the lanes. May be called again.
  void close();

 private:
  void give_back(std::unique_ptr<Lane> lane);

  std::shared_ptr<const Plan> plan_;
  std::size_t limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Lane>> free_;
  std::size_t made_ = 1;  // the constructor makes the first
  std::uint64_t next_ticket_ = 0;
  std::uint64_t serving_ = 0;
  bool closed_ = false;
};

}  // namespace trtfast
