// Which callers may be about to ask again.
#include <gtest/gtest.h>

#include <chrono>

#include "engine/callers.h"

namespace standin_test {
namespace {

using std::chrono::milliseconds;
using trtfast::Callers;
using trtfast::Clock;

TEST(KnownCallers, AreExpectedUntilAsManyComeOrTheyAreForgotten) {
  const Clock::time_point start;
  Callers callers(milliseconds(10));
  EXPECT_FALSE(callers.are_known());
  EXPECT_EQ(callers.next_forgotten(), Clock::time_point::max());
  callers.were_told(3, start);
  callers.were_told(2, start + milliseconds(4));
  EXPECT_EQ(callers.expected(), 5);
  callers.came(4, start + milliseconds(5));
  EXPECT_EQ(callers.expected(), 1);
  EXPECT_EQ(callers.next_forgotten(), start + milliseconds(14)) << "the first have all come";
  callers.came(2, start + milliseconds(6));
  EXPECT_EQ(callers.expected(), 0);
  EXPECT_TRUE(callers.are_known());
  callers.were_told(7, start + milliseconds(6));
  callers.forget(start + milliseconds(14));
  EXPECT_EQ(callers.expected(), 7);
  callers.forget(start + milliseconds(16));
  EXPECT_FALSE(callers.are_known());
}

TEST(KnownCallers, OfNoMemoryAreNone) {
  Callers callers(Clock::duration::zero());
  callers.were_told(3, Clock::time_point());
  EXPECT_FALSE(callers.are_known());
}

}  // namespace
}  // namespace standin_test
