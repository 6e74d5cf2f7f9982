// Which runs are captured: all that can be, but on TensorRT-RTX only those of a profile of one
// shape, since it unloads the kernels of other shapes under a graph that launches them.
#include <cstddef>
#include <vector>

#include "fixture.h"
#include "serving_test.h"

namespace standin_test {
namespace {

using trtfast::Profile;

class ReplayOnStandin : public ServingTest {
 protected:
  /// A profile of one shape for each of 1 to 40 rows, and a range for the rest.
  static std::vector<Profile> buckets() {
    std::vector<Profile> profiles;
    for (std::int64_t rows = 1; rows <= 40; ++rows) {
      profiles.push_back(profile("x", {rows, 2}, {rows, 2}, {rows, 2}));
    }
    profiles.push_back(profile("x", {1, 2}, {50, 2}, {200, 2}));
    return profiles;
  }
};
INSTANTIATE_FOR_RELEASES(ReplayOnStandin);

TEST_P(ReplayOnStandin, BucketsAreReplayedOnEveryRelease) {
  at_once_and_late([&] {
    const auto engine = load(build(kTwice, buckets()), 1);
    for (std::size_t turn = 0; turn < 3; ++turn) {
      for (const std::size_t count : {1U, 8U, 40U}) {
        EXPECT_TRUE(is_right(*engine, rows(count, turn)));
      }
    }
    // The first calls capture, but for buffers that grow under the graphs of smaller shapes.
    EXPECT_EQ(engine->stats().uncapturable, 0U);
    EXPECT_EQ(engine->memory().lanes[0].graphs, 3U);
    const auto hits = engine->stats().graph_hits.load();
    for (const std::size_t count : {1U, 8U, 40U}) {
      EXPECT_TRUE(is_right(*engine, rows(count, 7)));
    }
    EXPECT_EQ(engine->stats().graph_hits, hits + 3);
  });
}

TEST_P(ReplayOnStandin, ARangeIsReplayedWhereItsKernelsStay) {
  at_once_and_late([&] {
    const auto engine = load(build(kTwice, buckets()), 1);
    for (std::size_t turn = 0; turn < 4; ++turn) EXPECT_TRUE(is_right(*engine, rows(60, turn)));
    EXPECT_EQ(engine->stats().graph_hits, is_rtx() ? 0U : 3U);
    EXPECT_EQ(engine->stats().graph_misses, is_rtx() ? 4U : 1U);
    EXPECT_EQ(engine->stats().uncapturable, 0U);
    EXPECT_EQ(engine->memory().lanes[0].graphs, is_rtx() ? 0U : 1U);
  });
}

TEST_P(ReplayOnStandin, ManyBucketsTakeTurns) {
  const auto engine = load(build(kTwice, buckets()), 2);
  for (std::size_t turn = 0; turn < 3; ++turn) {
    for (std::size_t count = 1; count <= 40; ++count) {
      EXPECT_TRUE(is_right(*engine, rows(count, turn)));
    }
  }
  EXPECT_LE(engine->memory().lanes[0].graphs, 16U) << "what was not used for longest goes first";
}

}  // namespace
}  // namespace standin_test
