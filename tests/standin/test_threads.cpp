// Many threads on few lanes, and an engine that closes under them.
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "fake_cuda.h"
#include "fixture.h"

namespace standin_test {
namespace {

constexpr std::size_t kCallers = 8;
constexpr int kLanes = 3;
constexpr std::size_t kProfiles = 2;  // a lane has a context for each

constexpr const char* kModel =
    "input x float32 -1\n"
    "output y float32 -1\n"
    "output p float32 -1\n"
    "op twice y = affine 2 1 x\n"
    "op keep p = positive x\n";

class ThreadsOnStandin : public StandinTest {
 protected:
  [[nodiscard]] std::unique_ptr<trtfast::Engine> load_model() {
    return load(build(kModel, {profile("x", {1}, {4}, {8}), profile("x", {9}, {9}, {32})}), kLanes);
  }

  /// One call whose right answers depend on the thread and the turn.
  static bool call_is_right(trtfast::Engine& engine, std::size_t thread, std::size_t turn) {
    Values input(1 + (((thread * 7) + turn) % 32));
    Values doubled(input.size());
    Values positive;
    for (std::size_t i = 0; i < input.size(); ++i) {
      input[i] =
          static_cast<float>((thread * 1000) + turn + i) * ((i + turn) % 3 == 0 ? -1.F : 1.F);
      doubled[i] = (2 * input[i]) + 1;
      if (input[i] > 0) positive.push_back(input[i]);
    }
    const std::vector inputs = {view(input, {static_cast<std::int64_t>(input.size())})};
    const auto outputs = engine.infer({inputs});
    return values_of(outputs[0]) == doubled && values_of(outputs[1]) == positive;
  }
};
INSTANTIATE_FOR_RELEASES(ThreadsOnStandin);

TEST_P(ThreadsOnStandin, EveryCallGetsItsOwnAnswer) {
  constexpr std::size_t kTurns = 400;
  for (const bool late : {false, true}) {
    fake_cuda::set_late(late);
    recording_->forget();
    const auto engine = load_model();
    std::atomic<std::size_t> right = 0;
    std::vector<std::jthread> threads;
    threads.reserve(kCallers);
    for (std::size_t thread = 0; thread < kCallers; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t turn = 0; turn < kTurns; ++turn) {
          if (call_is_right(*engine, thread, turn)) ++right;
        }
      });
    }
    threads.clear();
    EXPECT_EQ(right, kCallers * kTurns);
    EXPECT_EQ(recording_->count("IExecutionContext::enqueueV3"), kCallers * kTurns);
    // Where contexts wear out, what is never captured has one of its own.
    EXPECT_LE(recording_->count("ICudaEngine::createExecutionContext") +
                  recording_->count("ICudaEngine::createExecutionContextWithRuntimeConfig"),
              static_cast<std::size_t>(kLanes) * kProfiles * (is_rtx() ? 2 : 1));
  }
}

TEST_P(ThreadsOnStandin, ClosingEndsTheTraffic) {
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    fake_cuda::set_late(round % 2 == 0);
    const auto engine = load_model();
    std::atomic<std::size_t> answered = 0;
    std::atomic<std::size_t> wrong = 0;
    std::atomic<std::size_t> closed = 0;
    std::vector<std::jthread> threads;
    threads.reserve(kCallers);
    for (std::size_t thread = 0; thread < kCallers; ++thread) {
      threads.emplace_back([&, thread] {
        try {
          for (std::size_t turn = 0;; ++turn) {
            if (!call_is_right(*engine, thread, turn)) ++wrong;
            ++answered;
          }
        } catch (const trtfast::ClosedError&) {
          ++closed;
        }
      });
    }
    while (answered < 20) std::this_thread::yield();
    engine->close();
    EXPECT_THAT(recording_->live_objects(), testing::Not(testing::HasSubstr("IExecutionContext")));
    threads.clear();
    EXPECT_EQ(closed, kCallers);
    EXPECT_EQ(wrong, 0U);
    engine->close();  // again
    EXPECT_THROW(static_cast<void>(run(*engine, {1}, {1})), trtfast::ClosedError);
  }
}

// A lane that cannot be made gives its place back: else close() would wait for it for good.
TEST_P(ThreadsOnStandin, ALaneThatCannotBeMadeIsNotWaitedFor) {
  const auto engine = load_model();
  fake_cuda::fail("cudaStreamCreateWithFlags", 1);
  std::atomic<bool> failed = false;
  std::vector<std::jthread> threads;
  threads.reserve(kCallers);
  for (std::size_t thread = 0; thread < kCallers; ++thread) {
    threads.emplace_back([&, thread] {
      while (!failed) {
        try {
          EXPECT_TRUE(call_is_right(*engine, thread, 1));
        } catch (const trtfast::CudaError&) {
          failed = true;
        }
      }
    });
  }
  threads.clear();
  EXPECT_TRUE(call_is_right(*engine, 0, 2));
  engine->close();
}

TEST_P(ThreadsOnStandin, SeveralThreadsMayClose) {
  const auto engine = load_model();
  static_cast<void>(call_is_right(*engine, 1, 1));
  std::vector<std::jthread> threads;
  threads.reserve(kCallers);
  for (std::size_t thread = 0; thread < kCallers; ++thread) {
    threads.emplace_back([&] { engine->close(); });
  }
}

TEST_P(ThreadsOnStandin, EnginesLoadAndBuildAtTheSameTime) {
  std::atomic<std::size_t> right = 0;
  std::vector<std::jthread> threads;
  threads.reserve(kCallers);
  for (std::size_t thread = 0; thread < kCallers; ++thread) {
    threads.emplace_back([&, thread] {
      const auto engine = load_model();
      if (call_is_right(*engine, thread, 3)) ++right;
    });
  }
  threads.clear();
  EXPECT_EQ(right, kCallers);
}

}  // namespace
}  // namespace standin_test
