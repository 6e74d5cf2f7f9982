#include "engine/batch_queue.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <string>
#include <utility>

#include "error.h"

namespace trtfast {
namespace {

// How many delays long callers are remembered. In that time all of many come back to a busy event
// loop: would it forget them, batches would be small, and so the loop even busier.
constexpr int kMemory = 4;

}  // namespace

BatchQueue::BatchQueue(BatcherOptions options)
    : options_(std::move(options)), callers_(kMemory * options_.max_queue_delay) {
  if (options_.max_batch_size < 1) {
    throw InputError("max_batch_size must be 1 or more, not " +
                     std::to_string(options_.max_batch_size));
  }
  std::ranges::sort(options_.preferred);
  for (const auto size : options_.preferred) {
    if (size < 1 || size > options_.max_batch_size) {
      throw InputError("preferred_batch_sizes must lie between 1 and max_batch_size=" +
                       std::to_string(options_.max_batch_size) + ", and " + std::to_string(size) +
                       " does not");
    }
  }
}

void BatchQueue::check(const BatchItem& item) const {
  for (const auto& input : item.inputs) {
    if (input.shape.empty() || input.shape.front() != item.inputs.front().shape.front()) {
      throw InputError("all inputs of a request must have the same number of rows, not " +
                       str(item.inputs.front().shape) + " and " + str(input.shape));
    }
  }
  const std::int64_t rows = item.rows();
  if (rows < 1 || rows > options_.max_batch_size) {
    throw InputError("a request has " + std::to_string(rows) + " rows; expected 1 to " +
                     std::to_string(options_.max_batch_size) +
                     ", the largest batch: split it, or give the batcher a larger max_batch_size");
  }
}

BatchQueue::Added BatchQueue::add(const Item& item) {
  auto group = std::ranges::find_if(groups_, [&](const auto& of) { return of.takes(*item); });
  if (group == groups_.end()) {
    group = groups_.emplace(groups_.end(), BatchGroup{item->recipe, {}});
    for (const auto& input : item->inputs) group->shapes.push_back(input.shape);
  }
  const std::int64_t before = group->unclaimed(options_.max_batch_size);
  const std::int64_t rows = item->rows();
  group->items.push_back(item);
  group->rows += rows;
  ++waiting_;
  callers_.came(rows, item->times.asked);
  const std::int64_t least = enough();
  return {group, due(*group, least), before <= 0 || before < least};
}

// All rows that the lanes share; nothing where there were no others just now.
std::optional<std::int64_t> BatchQueue::known() const {
  if (running_ == 0 && !callers_.are_known()) return std::nullopt;
  return std::accumulate(groups_.begin(), groups_.end(), running_ + callers_.expected(),
                         [](std::int64_t rows, const auto& group) { return rows + group.rows; });
}

// The rows at which a group need not wait. Of a share that is no whole number, less is enough: else
// the last lane would wait for the others' callers.
std::int64_t BatchQueue::enough() const {
  const std::int64_t whole =
      options_.preferred.empty() ? options_.max_batch_size : options_.preferred.front();
  const auto rows = known();
  if (!rows) return whole;
  return std::clamp(*rows / static_cast<std::int64_t>(options_.lanes), std::int64_t{1}, whole);
}

// The rows that a batch of a group may have.
std::int64_t BatchQueue::most(const BatchGroup& group) const {
  const auto larger = std::ranges::upper_bound(options_.preferred, group.rows);
  if (larger != options_.preferred.begin()) return *std::prev(larger);
  const auto rows = known();
  if (!rows || !options_.preferred.empty()) return options_.max_batch_size;
  const auto lanes = static_cast<std::int64_t>(options_.lanes);
  return std::min(options_.max_batch_size, (*rows + lanes - 1) / lanes);
}

// When a batch of a group may be claimed.
Clock::time_point BatchQueue::due(const BatchGroup& group, std::int64_t enough) const {
  const std::int64_t unclaimed = group.unclaimed(options_.max_batch_size);
  if (unclaimed <= 0) return kNever;
  if (is_closed_ || unclaimed >= enough) return kAtOnce;
  std::int64_t claimed = group.rows - unclaimed;
  auto first = group.items.begin();
  for (; claimed > 0 && std::next(first) != group.items.end(); ++first) claimed -= (*first)->rows();
  // As callers are forgotten, less is enough.
  return std::min((*first)->times.asked + options_.max_queue_delay, callers_.next_forgotten());
}

Clock::time_point BatchQueue::next_due() const {
  const std::int64_t least = enough();
  auto next = kNever;
  for (const auto& group : groups_) next = std::min(next, due(group, least));
  return next;
}

std::optional<BatchQueue::Group> BatchQueue::claim_due(Clock::time_point now) {
  callers_.forget(now);
  const std::int64_t least = enough();
  const auto asked = [](const BatchGroup& group) { return group.items.front()->times.asked; };
  std::optional<Group> chosen;
  for (auto group = groups_.begin(); group != groups_.end(); ++group) {
    if (due(*group, least) <= now && (!chosen || asked(*group) < asked(**chosen))) chosen = group;
  }
  if (chosen) claim(*chosen);
  return chosen;
}

BatchQueue::Taken BatchQueue::take(Group group, Clock::time_point now) {
  Taken taken;
  --group->claims;
  const std::int64_t limit = most(*group);
  while (!group->items.empty()) {
    Item& first = group->items.front();
    const bool is_too_late = first->is_late(now);
    const std::int64_t more = first->rows();
    if (!is_too_late && taken.rows > 0 && taken.rows + more > limit) break;
    if (!is_too_late) taken.rows += more;
    (is_too_late ? taken.late : taken.items).push_back(std::move(first));
    group->items.pop_front();
    group->rows -= more;
    --waiting_;
  }
  running_ += taken.rows;
  taken.due = due(*group, enough());
  leave(group);
  return taken;
}

void BatchQueue::have_run(std::int64_t rows, Clock::time_point now) {
  running_ -= rows;
  callers_.were_told(rows, now);
}

bool BatchQueue::remove(const Item& item) {
  for (auto group = groups_.begin(); group != groups_.end(); ++group) {
    const auto found = std::ranges::find(group->items, item);
    if (found == group->items.end()) continue;
    group->rows -= item->rows();
    group->items.erase(found);
    --waiting_;
    leave(group);
    return true;
  }
  return false;
}

BatchQueue::Late BatchQueue::remove_late(Clock::time_point now) {
  Late late;
  for (auto group = groups_.begin(); group != groups_.end();) {
    const auto next = std::next(group);
    group->items.remove_if([&](const Item& item) {
      if (!item->is_late(now)) {
        if (item->deadline) late.following = std::min(late.following, *item->deadline);
        return false;
      }
      group->rows -= item->rows();
      --waiting_;
      late.items.push_back(item);
      return true;
    });
    leave(group);
    group = next;
  }
  return late;
}

void BatchQueue::leave(Group group) noexcept {
  if (group->items.empty() && group->claims == 0) groups_.erase(group);
}

}  // namespace trtfast
