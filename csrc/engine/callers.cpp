#include "engine/callers.h"

#include <algorithm>
#include <numeric>

namespace trtfast {

void Callers::were_told(std::int64_t rows, Clock::time_point now) {
  if (rows > 0 && memory_ > Clock::duration::zero()) told_.push_back({now, rows});
}

// The last is kept when all its rows have come: that there were some is known.
void Callers::came(std::int64_t rows, Clock::time_point now) {
  forget(now);
  for (auto told = told_.begin(); told != told_.end() && rows > 0; ++told) {
    const std::int64_t back = std::min(rows, told->rows);
    rows -= back;
    told->rows -= back;
  }
  while (told_.size() > 1 && told_.front().rows == 0) told_.pop_front();
}

void Callers::forget(Clock::time_point now) {
  while (!told_.empty() && next_forgotten() <= now) told_.pop_front();
}

std::int64_t Callers::expected() const {
  return std::accumulate(told_.begin(), told_.end(), std::int64_t{0},
                         [](std::int64_t rows, const Told& told) { return rows + told.rows; });
}

Clock::time_point Callers::next_forgotten() const {
  return told_.empty() ? Clock::time_point::max() : told_.front().at + memory_;
}

}  // namespace trtfast
