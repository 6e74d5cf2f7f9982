// How many shapes and graphs a lane keeps, and which it lets go.
#include "engine/bucket.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "cuda/graph.h"
#include "fake_cuda_test.h"
#include "serving_test.h"

namespace standin_test {
namespace {

using trtfast::Bucket;
using trtfast::Buckets;

constexpr std::size_t kMostBuckets = 16;
constexpr std::size_t kMostVariants = 8;

class BucketsOnFakeCuda : public FakeCuda {
 protected:
  static Bucket bucket_of(std::vector<Shape> inputs, std::vector<Shape> outputs) {
    return {0, std::move(inputs), std::move(outputs), true};
  }
  /// One input and one output of these rows.
  static Bucket bucket_of(std::int64_t count) { return bucket_of({{count, 2}}, {{count, 3}}); }

  Bucket& add_with_graph(Buckets& buckets, Bucket bucket) const {
    Bucket& added = buckets.add(std::move(bucket));
    const std::vector<const void*> addresses = {device_};
    Buckets::variant(added, addresses).graph =
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
  for (std::int64_t count = 1; count <= 16; ++count) add_with_graph(buckets, bucket_of(count));
  EXPECT_TRUE(knows(1)) << "which makes it the last used";
  add_with_graph(buckets, bucket_of(17));
  EXPECT_FALSE(knows(2));
  EXPECT_TRUE(knows(1));
  EXPECT_EQ(buckets.graphs(), kMostBuckets);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("16 executable graphs"));
  buckets.drop_graphs();
  EXPECT_EQ(buckets.graphs(), 0U);
  EXPECT_THAT(fake_cuda::leaks(), testing::Not(HasSubstr("graphs")));
  EXPECT_TRUE(knows(3)) << "of shapes, only the graphs are forgotten";
}

TEST_F(BucketsOnFakeCuda, OneCanBeDropped) {
  Buckets buckets;
  Bucket& first = buckets.add(bucket_of(1));
  buckets.add(bucket_of(2));
  buckets.drop(first);
  EXPECT_EQ(buckets.find(std::vector<Shape>{{1, 2}}), nullptr);
  EXPECT_NE(buckets.find(std::vector<Shape>{{2, 2}}), nullptr);
}

TEST_F(BucketsOnFakeCuda, VariantsAreToldApartByTheirAddresses) {
  Buckets buckets;
  Bucket& bucket = buckets.add(bucket_of(1));
  std::vector<int> places(10);
  const auto variant = [&](std::size_t place) -> auto& {
    const std::vector<const void*> addresses = {&places[place]};
    return Buckets::variant(bucket, addresses);
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
  buckets.add(bucket_of(3));
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

class BoundsOnStandin : public ServingTest {};
INSTANTIATE_FOR_RELEASES(BoundsOnStandin);

TEST_P(BoundsOnStandin, ALaneKeepsTheGraphsOfTheLastShapes) {
  const auto engine = load_twice();
  EXPECT_TRUE(is_right(*engine, rows(200))) << "no buffer grows any more";
  for (std::size_t count = 1; count <= 30; ++count) {
    EXPECT_TRUE(is_right(*engine, rows(count)));
    EXPECT_TRUE(is_right(*engine, rows(count, 1)));
  }
  EXPECT_EQ(engine->memory().lanes[0].graphs, kMostBuckets);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("16 executable graphs"));
  EXPECT_EQ(engine->stats().captures, 31U);
  EXPECT_EQ(engine->stats().graph_hits, 30U);
  EXPECT_TRUE(is_right(*engine, rows(1, 2)));
  EXPECT_EQ(engine->stats().captures, 32U);
}

TEST_P(BoundsOnStandin, ALaneKeepsTheGraphsOfTheLastAddresses) {
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
