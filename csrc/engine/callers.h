// Callers who may be about to ask again.
#pragma once

#include <cstdint>
#include <deque>

#include "engine/stats.h"

namespace trtfast {

/// Rows that were answered, until as many come again or they are forgotten. Not safe from several
/// threads at once.
class Callers {
 public:
  /// @param memory how long they are remembered; zero for not at all.
  explicit Callers(Clock::duration memory) : memory_(memory) {}

  void were_told(std::int64_t rows, Clock::time_point now);
  void came(std::int64_t rows, Clock::time_point now);
  void forget(Clock::time_point now);

  /// Rows that may come.
  [[nodiscard]] std::int64_t expected() const;
  /// Whether some were told and are not forgotten, though all may have come back.
  [[nodiscard]] bool are_known() const noexcept { return !told_.empty(); }
  /// When the next are forgotten; the largest moment for none.
  [[nodiscard]] Clock::time_point next_forgotten() const;

 private:
  struct Told {
    Clock::time_point at;
    std::int64_t rows = 0;
  };

  Clock::duration memory_;
  std::deque<Told> told_;  // the oldest first
};

}  // namespace trtfast
