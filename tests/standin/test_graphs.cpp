// Graphs: when a run is captured, when it is one launch, and when there is none.
#include <atomic>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "serving_test.h"

namespace standin_test {
namespace {

class GraphsOnStandin : public ServingTest {
 protected:
  [[nodiscard]] std::size_t enqueues() const {
    return recording_->count("IExecutionContext::enqueueV3");
  }

  struct Counts {
    std::uint64_t misses, captures, hits, uncapturable;
    bool operator==(const Counts&) const = default;
    friend void PrintTo(const Counts& counts, std::ostream* stream) {
      *stream << counts.misses << " misses, " << counts.captures << " captures, " << counts.hits
              << " hits, " << counts.uncapturable << " uncapturable";
    }
  };
  [[nodiscard]] static Counts counts(const trtfast::Engine& engine) {
    const auto& stats = engine.stats();
    return {stats.graph_misses, stats.captures, stats.graph_hits, stats.uncapturable};
  }
  static constexpr std::size_t kMostChanges = 4096;  // of a context of so few layers
  [[nodiscard]] std::size_t ends() const { return recording_->count("~IExecutionContext"); }

  [[nodiscard]] static std::size_t graphs(trtfast::Engine& engine) {
    return engine.memory().lanes.at(0).graphs;
  }
};
INSTANTIATE_FOR_RELEASES(GraphsOnStandin);

TEST_P(GraphsOnStandin, TheFirstCallOfAShapeIsCapturedAndLaterOnesAreOneLaunch) {
  at_once_and_late([&] {
    const auto engine = load_twice();
    recording_->forget();
    EXPECT_TRUE(is_right(*engine, rows(3)));
    EXPECT_EQ(enqueues(), 2U) << "one that ran, and one that was captured";
    EXPECT_EQ(counts(*engine), (Counts{1, 1, 0, 0}));
    EXPECT_EQ(graphs(*engine), 1U);
    const int launches = calls_of("cudaGraphLaunch", [&] {
      for (std::size_t seed = 1; seed < 5; ++seed) EXPECT_TRUE(is_right(*engine, rows(3, seed)));
    });
    EXPECT_EQ(launches, 4);
    EXPECT_EQ(enqueues(), 2U);
    EXPECT_EQ(counts(*engine), (Counts{1, 1, 4, 0}));
    engine->reset_stats();
    EXPECT_EQ(counts(*engine), (Counts{0, 0, 0, 0}));
  });
}

TEST_P(GraphsOnStandin, ALaterCallIsOneLaunchAndOneWait) {
  const auto engine = load_twice();
  EXPECT_TRUE(is_right(*engine, rows(3)));
  recording_->forget();
  const auto call = [&] { EXPECT_TRUE(is_right(*engine, rows(3, 1))); };
  EXPECT_EQ(calls_of("cudaMemcpyAsync", call), 0) << "the graph has the copies";
  EXPECT_EQ(calls_of("cudaGraphLaunch", call), 1);
  EXPECT_EQ(calls_of("cudaStreamSynchronize", call), 1);
  EXPECT_EQ(calls_of("allocation", call), 0);
  EXPECT_EQ(recording_->calls(), "") << "TensorRT has no part in it";
}

TEST_P(GraphsOnStandin, LongInputsAreSentOnTheirOwn) {
  at_once_and_late([&] {
    const auto engine = load_large();
    EXPECT_TRUE(is_right(*engine, rows(kManyRows)));
    const int copies = calls_of("cudaMemcpyAsync", [&] {
      for (std::size_t seed = 1; seed < 4; ++seed) {
        EXPECT_TRUE(is_right(*engine, rows(kManyRows, seed)));
      }
    });
    EXPECT_GE(copies, 3);
    EXPECT_EQ(counts(*engine), (Counts{1, 1, 3, 0}));
  });
}

TEST_P(GraphsOnStandin, ALaneMayWaitAsleep) {
  trtfast::EngineOptions options;
  options.lanes = 1;
  options.lane.wait = trtfast::cuda::Wait::kBlock;
  at_once_and_late([&] {
    const auto engine = load_twice(options);
    EXPECT_TRUE(is_right(*engine, rows(3)));
    const auto call = [&] { EXPECT_TRUE(is_right(*engine, rows(3, 1))); };
    EXPECT_EQ(calls_of("cudaEventSynchronize", call), 1);
    EXPECT_EQ(calls_of("cudaStreamSynchronize", call), 0);
    EXPECT_EQ(counts(*engine), (Counts{1, 1, 2, 0}));
  });
}

TEST_P(GraphsOnStandin, SeveralShapesTakeTurns) {
  at_once_and_late([&] {
    const auto engine = load_twice();
    for (std::size_t turn = 0; turn < 4; ++turn) {
      for (const std::size_t count : {1U, 8U, 3U, 2U}) {
        EXPECT_TRUE(is_right(*engine, rows(count, turn))) << count;
      }
    }
    EXPECT_EQ(counts(*engine), (Counts{4, 4, 12, 0}));
    EXPECT_EQ(graphs(*engine), 4U);
  });
}

TEST_P(GraphsOnStandin, GrowingBuffersDropTheGraphs) {
  at_once_and_late([&] {
    const auto engine = load_twice();
    EXPECT_TRUE(is_right(*engine, rows(1)));
    EXPECT_TRUE(is_right(*engine, rows(2)));
    EXPECT_EQ(graphs(*engine), 2U);
    EXPECT_TRUE(is_right(*engine, rows(150))) << "more than the smallest buffer has";
    EXPECT_EQ(graphs(*engine), 1U);
    EXPECT_TRUE(is_right(*engine, rows(1, 1)));
    EXPECT_TRUE(is_right(*engine, rows(1, 2)));
    EXPECT_TRUE(is_right(*engine, rows(150, 1)));
    EXPECT_EQ(counts(*engine), (Counts{4, 4, 2, 0}));
    EXPECT_EQ(graphs(*engine), 2U);
  });
}

TEST_P(GraphsOnStandin, OutputsThatDependOnDataAreNeverCaptured) {
  at_once_and_late([&] {
    const auto engine = load(build(kPositive, {profile("x", {1}, {4}, {8})}), 1);
    const int captures = calls_of("cudaStreamBeginCapture", [&] {
      EXPECT_EQ(run(*engine, {-1, 2, -3, 4}, {4}), (Values{2, 4}));
      EXPECT_EQ(run(*engine, {5, -2, -3, 4}, {4}), (Values{5, 4}));
      EXPECT_EQ(run(*engine, {5, 6, 7, 8}, {4}), (Values{5, 6, 7, 8}));
    });
    EXPECT_EQ(captures, 0);
    EXPECT_EQ(counts(*engine), (Counts{3, 0, 0, 0}));
  });
}

TEST_P(GraphsOnStandin, EnginesWhoseShapesFollowFromValuesAreNeverCaptured) {
  constexpr const char* kFill =
      "input n int64 2 shape\n"
      "output f float32 -1,-1\n"
      "op fill f = fill n\n";
  at_once_and_late([&] {
    const auto engine = load(build(kFill, {profile("n", {1, 1}, {2, 2}, {4, 4})}), 1);
    const int captures = calls_of("cudaStreamBeginCapture", [&] {
      for (const Shape& n : {Shape{2, 3}, {2, 3}, {1, 4}, {2, 3}}) {
        EXPECT_EQ(engine->infer({{view(n, {2}, trtfast::DataType::kInt64)}})[0].shape, n);
      }
    });
    EXPECT_EQ(captures, 0);
    EXPECT_EQ(counts(*engine), (Counts{4, 0, 0, 0}));
  });
}

TEST_P(GraphsOnStandin, AShapeThatCannotBeCapturedRunsPlainlyForGood) {
  for (const char* function : {"cudaStreamEndCapture", "cudaGraphInstantiate"}) {
    SCOPED_TRACE(function);
    const auto engine = load_twice();
    fake_cuda::fail(function, 1);
    const int captures = calls_of("cudaStreamBeginCapture", [&] {
      for (std::size_t seed = 0; seed < 4; ++seed) EXPECT_TRUE(is_right(*engine, rows(3, seed)));
    });
    EXPECT_EQ(captures, 1);
    EXPECT_EQ(counts(*engine), (Counts{4, 0, 0, 1}));
    EXPECT_TRUE(is_right(*engine, rows(2)));
    EXPECT_TRUE(is_right(*engine, rows(2, 1)));
    EXPECT_EQ(counts(*engine), (Counts{5, 1, 1, 1})) << "another shape has its graph";
  }
}

TEST_P(GraphsOnStandin, TensorRtMayRefuseACapture) {
  const auto plan = build(std::string(kTwice) + "fail enqueue 2 no capture of this layer\n",
                          {profile("x", {1, 2}, {2, 2}, {200, 2})});
  at_once_and_late([&] {
    const auto engine = load(plan, 1);
    // Where contexts wear out, later runs have a context of their own, whose second enqueue fails.
    const std::size_t runs = is_rtx() ? 2 : 4;
    for (std::size_t seed = 0; seed < runs; ++seed) EXPECT_TRUE(is_right(*engine, rows(3, seed)));
    EXPECT_EQ(counts(*engine), (Counts{runs, 0, 0, 1}));
    EXPECT_EQ(graphs(*engine), 0U);
  });
}

TEST_P(GraphsOnStandin, GraphsCanBeSwitchedOff) {
  trtfast::EngineOptions options;
  options.lanes = 1;
  options.lane.cuda_graph = false;
  const auto engine = load_twice(options);
  const int captures = calls_of("cudaStreamBeginCapture", [&] {
    for (std::size_t seed = 0; seed < 3; ++seed) EXPECT_TRUE(is_right(*engine, rows(3, seed)));
  });
  EXPECT_EQ(captures, 0);
  EXPECT_EQ(counts(*engine), (Counts{3, 0, 0, 0}));
}

// TensorRT-RTX frees only with a context what each change of shapes leaves in it.
TEST_P(GraphsOnStandin, AContextIsMadeAnewAfterManyChanges) {
  trtfast::EngineOptions options;
  options.lanes = 1;
  options.lane.cuda_graph = false;
  const auto engine = load_twice(options);
  recording_->forget();
  for (std::size_t change = 1; change <= 2 * kMostChanges; ++change) {
    ASSERT_TRUE(is_right(*engine, rows(1 + (change % 2))));
    EXPECT_EQ(ends(), is_rtx() ? change / kMostChanges : 0);
  }
  for (std::size_t run = 0; run < kMostChanges; ++run) EXPECT_TRUE(is_right(*engine, rows(3)));
  EXPECT_EQ(ends(), is_rtx() ? 2U : 0U) << "the same shape is no change";
}

TEST_P(GraphsOnStandin, WhatIsNeverCapturedWearsOutAContextOfItsOwn) {
  constexpr std::size_t kGraphs = 64;
  at_once_and_late([&] {
    const auto engine = load_twice();
    engine->warm_up({{{200, 2}}});  // so that no buffer grows later
    for (std::size_t count = 1; count < kGraphs; ++count) {
      EXPECT_TRUE(is_right(*engine, rows(count)));
    }
    recording_->forget();
    for (std::size_t call = 0; call < 4 * kMostChanges; ++call) {
      ASSERT_TRUE(is_right(*engine, rows(101 + (call % 100), call)));
      ASSERT_TRUE(is_right(*engine, rows(1 + (call % (kGraphs - 1)), call)));
    }
    EXPECT_EQ(ends(), is_rtx() ? 3U : 0U);
    EXPECT_EQ(graphs(*engine), kGraphs);
    EXPECT_EQ(engine->stats().captures, kGraphs) << "none was captured again";
  });
}

TEST_P(GraphsOnStandin, GraphsGoBeforeTheContextThatTheyReplay) {
  at_once_and_late([&] {
    const auto engine = load_twice();
    recording_->forget();
    for (std::size_t shape = 0; shape < kMostChanges; ++shape) {
      engine->warm_up({{{static_cast<std::int64_t>(1 + (shape % 200)), 2}}});
    }
    EXPECT_EQ(ends(), is_rtx() ? 1U : 0U);
    const std::size_t last = 1 + ((kMostChanges - 1) % 200);
    EXPECT_TRUE(is_right(*engine, rows(last)));
    EXPECT_TRUE(is_right(*engine, rows(last, 1)));
    EXPECT_GT(graphs(*engine), 0U);
  });
}

TEST_P(GraphsOnStandin, OtherThreadsMayAllocateAndWaitDuringACapture) {
  constexpr std::size_t kShapes = 16;
  const auto engine = load_twice();
  EXPECT_TRUE(is_right(*engine, rows(200))) << "no buffer grows any more";
  std::atomic<bool> ended = false;
  std::atomic<std::size_t> turns = 0;
  std::jthread other([&] {
    const trtfast::cuda::Stream stream;
    while (!ended) {
      trtfast::cuda::DeviceBuffer memory;
      memory.reserve(64);
      stream.synchronize();
      ++turns;
    }
  });
  while (turns == 0) std::this_thread::yield();
  for (std::size_t turn = 0; turn < 20; ++turn) {
    for (std::size_t count = 1; count <= kShapes; ++count) {
      EXPECT_TRUE(is_right(*engine, rows(count, turn)));
    }
    EXPECT_TRUE(is_right(*engine, rows(199 - turn))) << "which lets the oldest shape go";
  }
  ended = true;
  other.join();
  EXPECT_EQ(engine->stats().uncapturable, 0U);
  EXPECT_GE(engine->stats().captures, kShapes);
}

TEST_P(GraphsOnStandin, EachProfileHasAContextOfItsOwn) {
  at_once_and_late([&] {
    const auto engine = load(
        build(kTwice, {profile("x", {1, 2}, {2, 2}, {4, 2}), profile("x", {5, 2}, {6, 2}, {8, 2})}),
        1);
    for (std::size_t turn = 0; turn < 3; ++turn) {
      for (const std::size_t count : {1U, 8U, 4U, 5U}) {
        EXPECT_TRUE(is_right(*engine, rows(count, turn)));
      }
    }
    EXPECT_EQ(counts(*engine), (Counts{4, 4, 8, 0}));
    EXPECT_EQ(recording_->count("ICudaEngine::createExecutionContext") +
                  recording_->count("ICudaEngine::createExecutionContextWithRuntimeConfig"),
              2U);
    EXPECT_EQ(recording_->count("IExecutionContext::setOptimizationProfileAsync"), 1U)
        << "as the second is made, and never again";
    recording_->forget();
  });
}

TEST_P(GraphsOnStandin, AWarmUpCapturesForEveryLane) {
  const auto engine = load(build(kTwice, {profile("x", {1, 2}, {2, 2}, {4, 2}),
                                          profile("x", {5, 2}, {100, 2}, {200, 2})}),
                           3);
  engine->warm_up({});
  EXPECT_EQ(counts(*engine), (Counts{6, 6, 0, 0})) << "no graph was captured in vain";
  for (const auto& lane : engine->memory().lanes) EXPECT_EQ(lane.graphs, 2U);
  engine->warm_up({{{3, 2}}, {{7, 2}}, {{3, 2}}});
  EXPECT_EQ(counts(*engine), (Counts{12, 12, 3, 0}));
  EXPECT_EQ(calls_of("allocation", [&] { EXPECT_TRUE(is_right(*engine, rows(100))); }), 0);
  EXPECT_EQ(counts(*engine), (Counts{12, 12, 4, 0}));
  EXPECT_THROW(engine->warm_up({{{201, 2}}}), InputError);
  EXPECT_THROW(engine->warm_up({{{1, 3}}}), InputError);
  EXPECT_THROW(engine->warm_up({{}}), InputError);
  EXPECT_TRUE(is_right(*engine, rows(3)));
}

TEST_P(GraphsOnStandin, TheShapesOfOutputsAreToldWithoutARun) {
  const auto engine = load_twice();
  recording_->forget();
  const std::vector<Shape> shapes = {{7, 2}};
  EXPECT_THAT(engine->output_shapes(shapes), ElementsAre(Shape{7, 2}));
  EXPECT_EQ(enqueues(), 0U);
  EXPECT_TRUE(is_right(*engine, rows(7)));
  EXPECT_THAT(engine->output_shapes(shapes), ElementsAre(Shape{7, 2}));
  const std::vector<Shape> outside = {{201, 2}};
  EXPECT_THROW(static_cast<void>(engine->output_shapes(outside)), InputError);
  for (const std::size_t count : {0U, 2U}) {
    const std::vector<Shape> given(count, Shape{7, 2});
    const auto error =
        thrown_by<InputError>([&] { static_cast<void>(engine->output_shapes(given)); });
    EXPECT_THAT(error.what(), HasSubstr("the engine has 1 inputs, and shapes are given for " +
                                        std::to_string(count)));
  }
  EXPECT_TRUE(is_right(*engine, rows(7, 1)));
  EXPECT_EQ(counts(*engine), (Counts{1, 1, 1, 0}));
}

}  // namespace
}  // namespace standin_test
