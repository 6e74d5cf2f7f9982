// How many shapes and graphs a lane keeps, and which it lets go.
#include "engine/bucket.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "cuda/graph.h"
#include "fake_cuda_test.h"
#include "serving_test.h"

namespace standin_test {
namespace {

using trtfast::Bucket;
using trtfast::Buckets;

constexpr std::size_t kMostBuckets = 64;
constexpr std::size_t kMostVariants = 8;
constexpr std::size_t kIdle = 1000;

class BucketsOnFakeCuda : public FakeCuda {
 protected:
  static Bucket bucket_of(std::vector<Shape> inputs, std::vector<Shape> outputs) {
    return {0, std::move(inputs), std::move(outputs), true};
  }
  /// One input and one output of these rows.
  static Bucket bucket_of(std::int64_t count) { return bucket_of({{count, 2}}, {{count, 3}}); }

  Bucket& add_with_graph(Buckets& buckets, Bucket bucket) const {
    Bucket& added = buckets.add(std::move(bucket), true);
    const std::vector<const void*> addresses = {device_};
    Buckets::variant(added, addresses, false).graph =
        trtfast::cuda::Graph::capture(stream_, [&] { EXPECT_EQ(set(1, stream_), cudaSuccess); });
    return added;
  }

  /// The rows of the first input of the bucket that these shapes would be padded to; 0 for none.
  static std::int64_t wider(const Buckets& buckets, const std::vector<Shape>& shapes) {
    const Bucket* found = buckets.find_wider(shapes);
    return found != nullptr ? found->inputs[0][0] : 0;
  }
};

TEST_F(BucketsOnFakeCuda, WhatWasNotUsedForLongestGoesFirst) {
  Buckets buckets;
  const auto knows = [&](std::int64_t count) {
    const std::vector<Shape> shapes = {{count, 2}};
    const Bucket* found = buckets.find(shapes);
    return found != nullptr && found->inputs == shapes;
  };
  for (std::int64_t count = 1; count <= 64; ++count) add_with_graph(buckets, bucket_of(count));
  EXPECT_TRUE(knows(1)) << "which makes it the last used";
  add_with_graph(buckets, bucket_of(65));
  EXPECT_FALSE(knows(2));
  EXPECT_TRUE(knows(1));
  EXPECT_EQ(buckets.graphs(), kMostBuckets);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("64 executable graphs"));
  buckets.drop_graphs();
  EXPECT_EQ(buckets.graphs(), 0U);
  EXPECT_THAT(fake_cuda::leaks(), testing::Not(HasSubstr("graphs")));
  EXPECT_TRUE(knows(3)) << "of shapes, only the graphs are forgotten";
}

TEST_F(BucketsOnFakeCuda, ShapesReplaceNoneThatAreInUse) {
  Buckets buckets;
  const auto knows = [&](std::int64_t count) {
    return buckets.find(std::vector<Shape>{{count, 2}}) != nullptr;
  };
  for (std::int64_t count = 1; count <= 64; ++count) {
    EXPECT_TRUE(buckets.add(bucket_of(count), false).capturable);
  }
  for (std::size_t use = 0; use < kIdle; ++use) {
    EXPECT_FALSE(buckets.add(bucket_of(65), false).capturable);
    EXPECT_FALSE(knows(65));
  }
  for (std::int64_t count = 2; count <= 64; ++count) EXPECT_TRUE(knows(count));
  EXPECT_TRUE(buckets.add(bucket_of(65), false).capturable) << "one has not been used for long";
  EXPECT_TRUE(knows(65));
  EXPECT_FALSE(knows(1));
  EXPECT_FALSE(buckets.add(bucket_of(66), false).capturable);
  EXPECT_TRUE(buckets.add(bucket_of(66), true).capturable);
  EXPECT_FALSE(knows(2));
}

TEST_F(BucketsOnFakeCuda, OneCanBeDropped) {
  Buckets buckets;
  Bucket& first = buckets.add(bucket_of(1), true);
  buckets.add(bucket_of(2), true);
  buckets.drop(first);
  EXPECT_EQ(buckets.find(std::vector<Shape>{{1, 2}}), nullptr);
  EXPECT_NE(buckets.find(std::vector<Shape>{{2, 2}}), nullptr);
}

TEST_F(BucketsOnFakeCuda, VariantsAreToldApartByTheirAddresses) {
  Buckets buckets;
  Bucket& bucket = buckets.add(bucket_of(1), true);
  std::vector<int> places(10);
  const auto variant = [&](std::size_t place) -> auto& {
    const std::vector<const void*> addresses = {&places[place]};
    return Buckets::variant(bucket, addresses, true);
  };
  for (std::size_t place = 0; place < kMostVariants; ++place) {
    variant(place).plain_runs = static_cast<int>(place) + 1;
  }
  EXPECT_EQ(variant(0).plain_runs, 1) << "which makes it the last used";
  EXPECT_EQ(variant(8).plain_runs, 0);
  EXPECT_EQ(variant(0).plain_runs, 1);
  EXPECT_EQ(variant(1).plain_runs, 0) << "it had to go";
  EXPECT_EQ(bucket.variants.size(), kMostVariants);
}

TEST_F(BucketsOnFakeCuda, TheSmallestWiderOneThatHasAGraphIsFound) {
  Buckets buckets;
  for (const std::int64_t count : {8, 4, 16}) add_with_graph(buckets, bucket_of(count));
  buckets.add(bucket_of(3), true);
  EXPECT_EQ(wider(buckets, {{2, 2}}), 4) << "that of 3 rows has none";
  EXPECT_EQ(wider(buckets, {{5, 2}}), 8);
  EXPECT_EQ(wider(buckets, {{0, 2}}), 4);
  EXPECT_EQ(wider(buckets, {{17, 2}}), 0);
  EXPECT_EQ(wider(buckets, {{2, 3}}), 0) << "another width";
}

TEST_F(BucketsOnFakeCuda, AllInputsGetAsManyRows) {
  Buckets buckets;
  add_with_graph(buckets, bucket_of({{8, 2}, {8, 5}, {1, 9}}, {{8, 2}}));
  EXPECT_EQ(wider(buckets, {{3, 2}, {3, 5}, {1, 9}}), 8);
  EXPECT_EQ(wider(buckets, {{3, 2}, {4, 5}, {1, 9}}), 0);
  EXPECT_EQ(wider(buckets, {{3, 2}, {8, 5}, {1, 9}}), 0);
  EXPECT_EQ(wider(buckets, {{3, 2}, {3, 5}, {2, 9}}), 0);
}

TEST_F(BucketsOnFakeCuda, OutputsMustHaveTheRowsThatTheInputsHave) {
  Buckets buckets;
  add_with_graph(buckets, bucket_of({{8, 2}}, {{8, 2}, {16, 2}}));
  EXPECT_EQ(wider(buckets, {{3, 2}}), 0) << "what rows of the second are of the 3 is not known";
}

TEST_F(BucketsOnFakeCuda, AddressesOfCallersReplaceNoGraphThatIsInUse) {
  Buckets buckets;
  Bucket& bucket = buckets.add(bucket_of(1), true);
  std::vector<int> places(20);
  const auto variant = [&](std::size_t place, bool has_callers) -> auto& {
    const std::vector<const void*> addresses = {&places[place]};
    return Buckets::variant(bucket, addresses, has_callers);
  };
  const auto capture = [&](std::size_t place, bool has_callers) {
    variant(place, has_callers).graph =
        trtfast::cuda::Graph::capture(stream_, [&] { EXPECT_EQ(set(1, stream_), cudaSuccess); });
  };
  const auto has_graph = [&](std::size_t place) { return variant(place, true).graph.has_value(); };
  for (std::size_t place = 0; place + 1 < kMostVariants; ++place) capture(place, true);
  variant(8, true).plain_runs = 1;
  EXPECT_EQ(variant(9, true).plain_runs, 0) << "what has no graph goes";
  EXPECT_EQ(variant(8, true).plain_runs, 0);
  EXPECT_TRUE(has_graph(0)) << "though it was used before";
  capture(8, true);
  variant(9, true).plain_runs = 1;
  EXPECT_EQ(variant(9, true).plain_runs, 0) << "it is not kept";
  EXPECT_TRUE(has_graph(1));
  EXPECT_EQ(bucket.variants.size(), kMostVariants);
  capture(10, false);
  EXPECT_FALSE(has_graph(2)) << "what is the lane's own is always kept, and few";
  for (std::size_t run = 0; run <= kIdle; ++run) EXPECT_TRUE(has_graph(0));
  variant(9, true).plain_runs = 1;
  EXPECT_EQ(variant(9, true).plain_runs, 1) << "another has been idle for long";
  EXPECT_FALSE(has_graph(3));
}

class BoundsOnStandin : public ServingTest {};
INSTANTIATE_FOR_RELEASES(BoundsOnStandin);

TEST_P(BoundsOnStandin, ALaneKeepsTheGraphsOf64Shapes) {
  const auto engine = load_twice();
  EXPECT_TRUE(is_right(*engine, rows(200))) << "no buffer grows any more";
  for (std::size_t count = 1; count <= 80; ++count) {
    EXPECT_TRUE(is_right(*engine, rows(count)));
    EXPECT_TRUE(is_right(*engine, rows(count, 1)));
  }
  EXPECT_EQ(engine->memory().lanes[0].graphs, kMostBuckets);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("64 executable graphs"));
  EXPECT_EQ(engine->stats().captures, kMostBuckets);
  EXPECT_EQ(engine->stats().graph_hits, kMostBuckets - 1);
  engine->reset_stats();
  for (std::size_t count = 80; count > 0; --count) {
    EXPECT_TRUE(is_right(*engine, rows(count, count)));
  }
  EXPECT_EQ(engine->stats().captures, 0U);
  EXPECT_EQ(engine->stats().uncapturable, 0U);
  EXPECT_EQ(engine->stats().graph_hits, kMostBuckets - 1);
  engine->warm_up({{{80, 2}}});
  EXPECT_EQ(engine->stats().captures, 1U) << "it was asked for";
  EXPECT_EQ(engine->memory().lanes[0].graphs, kMostBuckets);
}

TEST_P(BoundsOnStandin, AddressesThatKeepChangingAreNotCapturedForever) {
  const auto engine = load_twice();
  constexpr std::size_t kTargets = 12;
  std::vector<DeviceValues> targets;
  targets.reserve(kTargets);
  for (std::size_t i = 0; i < kTargets; ++i) targets.emplace_back(Values(6));
  const auto run = [&](std::size_t target, std::size_t seed) {
    const Values input = rows(3, seed);
    static_cast<void>(engine->infer({{view(input, {3, 2})}, {targets[target].output({3, 2})}}));
    EXPECT_EQ(targets[target].values(), twice(input));
  };
  std::mt19937 random(1);  // NOLINT(bugprone-random-generator-seed): the same each time
  const auto run_any = [&](std::size_t among) {
    for (std::size_t turn = 0; turn < 300; ++turn) run(random() % among, turn);
  };
  run_any(kTargets);
  EXPECT_EQ(engine->stats().captures, kMostVariants);
  engine->reset_stats();
  run_any(kTargets);
  EXPECT_EQ(engine->stats().captures, 0U);
  EXPECT_GT(engine->stats().graph_hits, 100U) << "those that are kept are replayed";
  engine->reset_stats();
  const Values own = rows(3);
  for (int turn = 0; turn < 3; ++turn) EXPECT_TRUE(is_right(*engine, own));
  EXPECT_EQ(engine->stats().graph_hits, 2U) << "host arrays are captured at once";
}

TEST_P(BoundsOnStandin, OtherAddressesAreCapturedOnceTheFirstAreIdle) {
  const auto engine = load_twice();
  std::vector<DeviceValues> targets;
  targets.reserve(2 * kMostVariants);
  for (std::size_t i = 0; i < 2 * kMostVariants; ++i) targets.emplace_back(Values(2));
  const Values input = rows(1);
  const auto run = [&](std::size_t first, std::size_t turns) {
    engine->reset_stats();
    for (std::size_t turn = 0; turn < turns; ++turn) {
      const auto& target = targets[first + (turn % kMostVariants)];
      static_cast<void>(engine->infer({{view(input, {1, 2})}, {target.output({1, 2})}}));
    }
  };
  run(0, 3 * kMostVariants);
  EXPECT_EQ(engine->stats().captures, kMostVariants);
  EXPECT_EQ(engine->stats().graph_hits, kMostVariants);
  run(kMostVariants, kIdle - kMostVariants);
  EXPECT_EQ(engine->stats().captures, 0U);
  run(kMostVariants, 3 * kMostVariants);
  EXPECT_EQ(engine->stats().captures, kMostVariants);
  run(kMostVariants, kMostVariants);
  EXPECT_EQ(engine->stats().graph_hits, kMostVariants);
}

TEST_P(BoundsOnStandin, ALaneKeepsEightSetsOfAddresses) {
  const auto engine = load_twice();
  constexpr std::size_t kTargets = 12;
  std::vector<DeviceValues> targets;
  targets.reserve(kTargets);
  for (std::size_t i = 0; i < kTargets; ++i) targets.emplace_back(Values(6));
  for (std::size_t i = 0; i < targets.size(); ++i) {
    for (std::size_t turn = 0; turn < 3; ++turn) {
      const Values input = rows(3, turn + i);
      static_cast<void>(engine->infer({{view(input, {3, 2})}, {targets[i].output({3, 2})}}));
      EXPECT_EQ(targets[i].values(), twice(input));
    }
    EXPECT_EQ(engine->memory().lanes[0].graphs, std::min(i + 1, kMostVariants));
  }
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("8 executable graphs"));
}

}  // namespace
}  // namespace standin_test
