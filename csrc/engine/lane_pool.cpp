#include "engine/lane_pool.h"

#include <algorithm>
#include <utility>

#include "error.h"

namespace trtfast {

LanePool::LanePool(std::shared_ptr<const Plan> plan, std::size_t lanes)
    : plan_(std::move(plan)), limit_(lanes) {
  free_.push_back(std::make_unique<Lane>(plan_));
}

LanePool::Lease LanePool::acquire() {
  std::unique_ptr<Lane> lane;
  {
    std::unique_lock lock(mutex_);
    const std::uint64_t ticket = next_ticket_++;
    changed_.wait(lock, [&] {
      return closed_ || (ticket == serving_ && (!free_.empty() || made_ < limit_));
    });
    if (closed_) throw ClosedError("the engine is closed: load it again");
    // Room for one more lane first: give_back() runs in destructors, which must not allocate.
    if (free_.empty()) free_.reserve(made_ + 1);
    ++serving_;
    if (!free_.empty()) {
      lane = std::move(free_.back());
      free_.pop_back();
    } else {
      ++made_;  // made below, without keeping others waiting
    }
  }
  changed_.notify_all();
  if (lane == nullptr) {
    try {
      lane = std::make_unique<Lane>(plan_);
    } catch (...) {
      {
        const std::scoped_lock lock(mutex_);
        --made_;
      }
      changed_.notify_all();
      throw;
    }
  }
  return {*this, std::move(lane)};
}

void LanePool::give_back(std::unique_ptr<Lane> lane) {
  {
    const std::scoped_lock lock(mutex_);
    free_.push_back(std::move(lane));
  }
  changed_.notify_all();
}

void LanePool::close() {
  std::vector<std::unique_ptr<Lane>> lanes;
  {
    std::unique_lock lock(mutex_);
    closed_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return free_.size() == made_; });
    lanes.swap(free_);
    made_ = 0;
  }
}

}  // namespace trtfast
