#include "engine/lane_pool.h"

#include <string>

#include "error.h"

namespace trtfast {

/// What a waiting call waits for. Each waits on its own condition, so that a lane that comes back
/// wakes just the one whose turn it is.
struct LanePool::Place::Turn {
  std::condition_variable come;
  bool has_come = false;
  std::unique_ptr<Lane> lane;  // null once the turn has come: there is room to make one
};

LanePool::LanePool(Make make, Drop drop, std::size_t lanes, std::optional<std::size_t> max_queue)
    : make_(std::move(make)), drop_(std::move(drop)), limit_(lanes), max_queue_(max_queue) {
  free_.reserve(limit_);  // give_back() runs in destructors, which must not allocate
  free_.push_back(make_());
  all_.push_back(free_.back().get());
}

void LanePool::check_open() const {
  if (closed_) throw ClosedError("the engine is closed: load it again");
}

LanePool::Place LanePool::enter(std::optional<std::size_t> max_queue) {
  auto turn = std::make_unique<Place::Turn>();
  const std::scoped_lock lock(mutex_);
  check_open();
  const bool must_wait = !waiting_.empty() || (free_.empty() && made_ == limit_);
  if (must_wait && max_queue && waiting_.size() >= *max_queue) {
    throw QueueFullError("all lanes are busy, and max_queue=" + std::to_string(*max_queue) +
                         " calls wait already: try again later, or give the engine more lanes");
  }
  waiting_.push_back(turn.get());
  Place place(*this, std::move(turn));
  serve();
  return place;
}

// Gives what is free to those who have waited longest. Under the lock.
void LanePool::serve() noexcept {
  while (!closed_ && !waiting_.empty() && (!free_.empty() || made_ < limit_)) {
    Place::Turn& turn = *waiting_.front();
    waiting_.pop_front();
    if (!free_.empty()) {
      turn.lane = std::move(free_.back());
      free_.pop_back();
    } else {
      ++made_;  // by the one whose turn it is, without keeping others waiting
    }
    turn.has_come = true;
    turn.come.notify_one();
  }
}

LanePool::Place::Place(LanePool& pool, std::unique_ptr<Turn> turn)
    : pool_(&pool), turn_(std::move(turn)) {}

LanePool::Place::Place(Place&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), turn_(std::move(other.turn_)) {}

LanePool::Place::~Place() {
  if (pool_ == nullptr) return;
  const std::scoped_lock lock(pool_->mutex_);
  if (!turn_->has_come) {
    pool_->waiting_.remove(turn_.get());
  } else if (turn_->lane != nullptr) {
    pool_->free_.push_back(std::move(turn_->lane));
  } else {
    --pool_->made_;  // there was room to make one, and it was not made
  }
  pool_->serve();
  pool_->all_back_.notify_all();
}

LanePool::Lease LanePool::Place::lease(const Deadline& deadline) && {
  {
    std::unique_lock lock(pool_->mutex_);
    const auto ready = [this] { return turn_->has_come || pool_->closed_; };
    if (deadline) {
      turn_->come.wait_until(lock, *deadline, ready);
    } else {
      turn_->come.wait(lock, ready);
    }
    if (!turn_->has_come) pool_->check_open();
    if (deadline && Clock::now() >= *deadline) {
      throw DeadlineExceededError(
          "no lane was free before the call's deadline, and it was not run: "
          "give it more time, or the engine more lanes");
    }
  }
  if (turn_->lane == nullptr) {
    turn_->lane = pool_->make_();
    const std::scoped_lock lock(pool_->mutex_);
    pool_->all_.push_back(turn_->lane.get());
  }
  Lease lease(*pool_, std::move(turn_->lane));
  pool_ = nullptr;
  return lease;
}

void LanePool::give_back(std::unique_ptr<Lane> lane) noexcept {
  const std::scoped_lock lock(mutex_);
  free_.push_back(std::move(lane));
  serve();
  if (closed_) all_back_.notify_all();
}

void LanePool::for_each(const std::function<void(Lane&)>& function) {
  const std::scoped_lock alone(each_);  // two of these would wait for each other's lanes
  // All are held until the end, so that none is met twice.
  std::vector<Lease> leases;
  for (std::size_t lane = 0; lane < limit_; ++lane) {
    leases.push_back(enter_any_queue().lease());
    function(*leases.back().operator->());
  }
}

std::vector<LaneMemory> LanePool::memory() {
  std::vector<LaneMemory> held;
  const std::scoped_lock lock(mutex_);
  held.reserve(all_.size());
  for (const auto* lane : all_) held.push_back(lane->memory());
  return held;
}

void LanePool::refuse() {
  const std::scoped_lock lock(mutex_);
  closed_ = true;
  for (auto* turn : waiting_) turn->come.notify_all();
}

void LanePool::close() {
  refuse();
  std::vector<std::unique_ptr<Lane>> lanes;
  {
    std::unique_lock lock(mutex_);
    all_back_.wait(lock, [this] { return free_.size() == made_; });
    lanes.swap(free_);
    all_.clear();
    made_ = 0;
  }
  for (auto& lane : lanes) drop_(std::move(lane));
}

}  // namespace trtfast
