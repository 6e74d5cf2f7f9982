// Batches on an engine: to each caller his rows, whatever the others do.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "engine/batcher.h"
#include "outcomes.h"
#include "serving_test.h"

namespace standin_test {
namespace {

using trtfast::Batcher;
using trtfast::BatcherOptions;
using trtfast::BatchItem;
using Sizes = std::map<std::int64_t, std::uint64_t>;

Batcher::Item item_of(const Values& input) {
  auto item = std::make_shared<BatchItem>();
  item->inputs = {view(input, rows_shape(input))};
  return item;
}

class BatcherOnStandin : public ServingTest {
 protected:
  static std::unique_ptr<Batcher> batcher_on(const std::shared_ptr<trtfast::Engine>& engine,
                                             std::int64_t max_batch_size) {
    return batcher_on(engine, BatcherOptions{.max_batch_size = max_batch_size, .lanes = 2});
  }
  static std::unique_ptr<Batcher> batcher_on(const std::shared_ptr<trtfast::Engine>& engine,
                                             const BatcherOptions& options) {
    return std::make_unique<Batcher>(std::make_unique<trtfast::EngineRunner>(engine), options);
  }
  static std::string right(const Values& input) { return testing::PrintToString(twice(input)); }

  /// Adds a request for each input.
  static void add_all(Batcher& batcher, const std::vector<Values>& inputs, Outcomes& outcomes) {
    for (std::size_t call = 0; call < inputs.size(); ++call) {
      const auto item = item_of(inputs[call]);
      item->done = outcomes.of(std::to_string(call));
      batcher.add(item);
    }
  }
  static std::vector<Values> inputs_of(const std::vector<std::size_t>& counts) {
    std::vector<Values> inputs;
    inputs.reserve(counts.size());
    for (const auto count : counts) inputs.push_back(rows(count, inputs.size()));
    return inputs;
  }

  /// Adds requests while the only lane is busy, and returns the sizes of the batches of them.
  Sizes batches_of(const std::vector<std::size_t>& counts, const BatcherOptions& options) {
    const std::shared_ptr<trtfast::Engine> engine = load_twice(1);
    const auto batcher = batcher_on(engine, options);
    const std::vector<Values> inputs = inputs_of(counts);
    Outcomes outcomes;
    fake_cuda::set_late(true);
    Gate gate;
    const Values held = rows(1);
    engine->infer_async({.inputs = {view(held, {1, 2})}, .inputs_ready = gate.event()}, {},
                        [](const auto&) {});
    gate.wait();
    add_all(*batcher, inputs, outcomes);
    EXPECT_EQ(batcher->waiting(), counts.size());
    gate.open();
    batcher->close();
    for (std::size_t call = 0; call < inputs.size(); ++call) {
      EXPECT_EQ(outcomes.told(std::to_string(call)), right(inputs[call]));
    }
    return batcher->batch_sizes();
  }
};
INSTANTIATE_FOR_RELEASES(BatcherOnStandin);

TEST_P(BatcherOnStandin, EachRequestGetsItsOwnRows) {
  at_once_and_late([&] {
    const std::shared_ptr<trtfast::Engine> engine = load_twice(2);
    const auto batcher = batcher_on(engine, 8);
    std::vector<std::size_t> counts(100);
    for (std::size_t call = 0; call < counts.size(); ++call) counts[call] = 1 + (call % 3);
    const std::vector<Values> inputs = inputs_of(counts);
    Outcomes outcomes;
    add_all(*batcher, inputs, outcomes);
    outcomes.wait(inputs.size());
    batcher->close();
    std::uint64_t executions = 0;
    std::uint64_t total = 0;
    for (const auto& [size, count] : batcher->batch_sizes()) {
      EXPECT_LE(size, 8);
      executions += count;
      total += static_cast<std::uint64_t>(size) * count;
    }
    for (std::size_t call = 0; call < inputs.size(); ++call) {
      EXPECT_EQ(outcomes.told(std::to_string(call)), right(inputs[call]));
    }
    EXPECT_EQ(batcher->stats().calls, inputs.size());
    EXPECT_EQ(batcher->stats().rows, total);
    EXPECT_EQ(total, std::accumulate(counts.begin(), counts.end(), std::size_t{0}));
    EXPECT_EQ(batcher->stats().executions, executions);
    EXPECT_EQ(engine->stats().calls, executions);
    EXPECT_EQ(batcher->stats().total.summary().count, inputs.size());
    EXPECT_EQ(batcher->waiting(), 0U);
  });
}

TEST_P(BatcherOnStandin, WhatWaitsForALaneIsOneBatch) {
  EXPECT_EQ(batches_of({1, 1, 2, 1, 3, 1}, {.max_batch_size = 200, .lanes = 1}), (Sizes{{9, 1}}));
}

TEST_P(BatcherOnStandin, ABatchIsFilledInTheOrderOfArrival) {
  EXPECT_EQ(batches_of({3, 2, 2, 4, 1}, {.max_batch_size = 4, .lanes = 1}),
            (Sizes{{1, 1}, {3, 1}, {4, 2}}));
}

TEST_P(BatcherOnStandin, WhatWaitsIsCutToPreferredSizes) {
  EXPECT_EQ(
      batches_of({1, 1, 1, 1, 1, 1, 1}, {.max_batch_size = 100, .preferred = {4, 2}, .lanes = 1}),
      (Sizes{{1, 1}, {2, 1}, {4, 1}}));
}

TEST_P(BatcherOnStandin, LargeRequestsAreGatheredToo) {
  at_once_and_late([&] {
    const std::shared_ptr<trtfast::Engine> engine = load_large();
    const auto batcher =
        batcher_on(engine, {.max_batch_size = kManyRows, .max_queue_delay = std::chrono::hours(1)});
    const std::vector<Values> inputs = inputs_of({9'000, 1, 10'999});
    Outcomes outcomes;
    add_all(*batcher, inputs, outcomes);
    outcomes.wait(3);
    for (std::size_t call = 0; call < 3; ++call) {
      EXPECT_TRUE(outcomes.told(std::to_string(call)) == right(inputs[call])) << call;
    }
    EXPECT_EQ(batcher->batch_sizes(), (Sizes{{kManyRows, 1}}));
  });
}

TEST_P(BatcherOnStandin, ABatchRunsInTheBucketOfALargerOne) {
  trtfast::EngineOptions options;
  options.lanes = 1;
  options.lane.pad_to_bucket = true;
  const std::shared_ptr<trtfast::Engine> engine = load_twice(options);
  engine->warm_up({{{8, 2}}});
  engine->warm_up({{{8, 2}}});
  const auto batcher = batcher_on(engine, 8);
  const Values input = rows(3);
  const auto outputs = batcher->infer(item_of(input));
  EXPECT_EQ(values_of(outputs.at(0)), twice(input));
  EXPECT_EQ(outputs.at(0).shape, (Shape{3, 2}));
  EXPECT_EQ(engine->stats().padded, 1U);
}

TEST_P(BatcherOnStandin, ShapesThatDifferAreBatchedApart) {
  const std::shared_ptr<trtfast::Engine> engine =
      load(build("input x float32 -1,-1\noutput y float32 -1,-1\nop twice y = affine 2 1 x\n",
                 {profile("x", {1, 1}, {2, 2}, {20, 20})}),
           1);
  const auto batcher = batcher_on(
      engine, {.max_batch_size = 2, .max_queue_delay = std::chrono::hours(1), .lanes = 1});
  const Values wide = {1, 2, 3};
  const Values narrow = {4};
  Outcomes outcomes;
  for (int turn = 0; turn < 2; ++turn) {
    for (const auto& [values, name] : {std::pair(&wide, "wide"), std::pair(&narrow, "narrow")}) {
      const auto item = std::make_shared<BatchItem>();
      item->inputs = {view(*values, {1, static_cast<std::int64_t>(values->size())})};
      item->done = outcomes.of(name);
      batcher->add(item);
    }
  }
  outcomes.wait(4);
  EXPECT_EQ(outcomes.told("wide"), right(wide) + ", " + right(wide));
  EXPECT_EQ(outcomes.told("narrow"), right(narrow) + ", " + right(narrow));
  EXPECT_EQ(batcher->batch_sizes(), (Sizes{{2, 2}}));
}

TEST_P(BatcherOnStandin, AnEngineThatIsClosedIsToldToAll) {
  const std::shared_ptr<trtfast::Engine> engine = load_twice(1);
  const auto batcher =
      batcher_on(engine, {.max_batch_size = 9, .max_queue_delay = std::chrono::hours(1)});
  const std::vector<Values> inputs = inputs_of({1, 2});
  Outcomes outcomes;
  add_all(*batcher, inputs, outcomes);
  engine->close();
  batcher->close();
  EXPECT_EQ(outcomes.told("0"), "ClosedError");
  EXPECT_EQ(outcomes.told("1"), "ClosedError");
  EXPECT_EQ(batcher->stats().failures, 2U);
}

TEST_P(BatcherOnStandin, WhatFailsOnTheDeviceIsToldToItsBatchAlone) {
  const std::shared_ptr<trtfast::Engine> engine = load_twice(1);
  const auto batcher =
      batcher_on(engine, {.max_batch_size = 2, .max_queue_delay = std::chrono::hours(1)});
  const std::vector<Values> inputs = inputs_of({1, 1});
  Outcomes outcomes;
  fake_cuda::fail("allocation", 1);
  add_all(*batcher, inputs, outcomes);
  outcomes.wait(2);
  EXPECT_EQ(outcomes.told("0"), "OutOfMemoryError");
  EXPECT_EQ(outcomes.told("1"), "OutOfMemoryError");
  fake_cuda::fail("allocation", 0);
  add_all(*batcher, inputs, outcomes);
  outcomes.wait(4);
  EXPECT_EQ(outcomes.told("0"), "OutOfMemoryError, " + right(inputs[0]));
  EXPECT_EQ(outcomes.told("1"), "OutOfMemoryError, " + right(inputs[1]));
  EXPECT_EQ(batcher->stats().executions, 2U);
}

TEST_P(BatcherOnStandin, ManyThreadsGetTheirOwnAnswers) {
  constexpr std::size_t kThreads = 8;
  constexpr std::size_t kTurns = 60;
  at_once_and_late([&] {
    const std::shared_ptr<trtfast::Engine> engine = load_twice(2);
    const auto batcher = batcher_on(engine, 5);
    std::atomic<std::size_t> right_ones = 0;
    std::atomic<std::size_t> told = 0;
    std::atomic<std::size_t> cancelled = 0;
    std::vector<std::vector<Values>> inputs(kThreads);
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t turn = 0; turn < kTurns; ++turn) {
          inputs[thread].push_back(rows(1 + (turn % 5), (thread * kTurns) + turn));
        }
        for (std::size_t turn = 0; turn < kTurns; ++turn) {
          const Values& input = inputs[thread][turn];
          if (values_of(batcher->infer(item_of(input)).at(0)) == twice(input)) ++right_ones;
          if (turn % 10 == 0 && is_right(*engine, input)) ++right_ones;
          const auto item = item_of(input);
          if (turn % 2 == 0) item->deadline = trtfast::Clock::now() + std::chrono::hours(1);
          item->done = [&](const trtfast::Outcome& outcome) {
            if (!outcome.error && values_of(outcome.outputs[0]) == twice(input)) ++right_ones;
            ++told;
          };
          batcher->add(item);
          if (turn % 7 == 0 && batcher->cancel(item)) ++cancelled;
        }
      });
    }
    threads.clear();
    batcher->close();
    EXPECT_EQ(told + cancelled, kThreads * kTurns);
    EXPECT_EQ(right_ones, (2 * kThreads * kTurns) + (kThreads * kTurns / 10) - cancelled);
    EXPECT_EQ(batcher->stats().cancelled, cancelled);
  });
}

}  // namespace
}  // namespace standin_test
