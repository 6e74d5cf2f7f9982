// Calls that run on an engine's own threads: each gets one outcome, or none where it was cancelled.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "outcomes.h"
#include "serving_test.h"

namespace standin_test {
namespace {

using trtfast::AsyncCalls;
using trtfast::Clock;
using trtfast::ClosedError;
using trtfast::Deadline;
using trtfast::QueueFullError;

class AsyncOnStandin : public ServingTest {
 protected:
  static Request request_of(const Values& input) { return {{view(input, rows_shape(input))}}; }
  static std::string right(const Values& input) { return testing::PrintToString(twice(input)); }
};
INSTANTIATE_FOR_RELEASES(AsyncOnStandin);

TEST_P(AsyncOnStandin, EachCallIsToldItsValuesOnce) {
  at_once_and_late([&] {
    const auto engine = load_twice(2);
    std::vector<Values> inputs;
    inputs.reserve(20);
    for (std::size_t call = 0; call < 20; ++call) inputs.push_back(rows(1 + (call % 3), call));
    Outcomes outcomes;
    for (std::size_t call = 0; call < inputs.size(); ++call) {
      engine->infer_async(request_of(inputs[call]), {}, outcomes.of(std::to_string(call)));
    }
    outcomes.wait(inputs.size());
    engine->close();
    for (std::size_t call = 0; call < inputs.size(); ++call) {
      EXPECT_EQ(outcomes.told(std::to_string(call)), right(inputs[call]));
    }
    EXPECT_EQ(engine->stats().calls, inputs.size());
  });
}

TEST_P(AsyncOnStandin, ErrorsAreToldOrThrown) {
  const auto engine = load_twice();
  Outcomes outcomes;
  const Values outside = rows(201);
  engine->infer_async(request_of(outside), {}, outcomes.of("outside the profile"));
  const Values input = rows(2);
  engine->infer_async(request_of(input), Clock::now(), outcomes.of("too late"));
  EXPECT_THROW(engine->infer_async({}, {}, outcomes.of("no input")), InputError);
  engine->infer_async(request_of(input), {}, outcomes.of("right"));
  outcomes.wait(3);
  engine->close();
  EXPECT_THROW(engine->infer_async(request_of(input), {}, outcomes.of("closed")), ClosedError);
  EXPECT_EQ(outcomes.told("outside the profile"), "InputError");
  EXPECT_EQ(outcomes.told("too late"), "DeadlineExceededError");
  EXPECT_EQ(outcomes.told("right"), right(input));
  EXPECT_EQ(outcomes.told("no input"), "");
  EXPECT_EQ(outcomes.told("closed"), "");
  EXPECT_EQ(engine->stats().failures, 2U);
}

TEST_P(AsyncOnStandin, ACallThatHasNotBegunCanBeTakenBack) {
  trtfast::EngineOptions options;
  options.lanes = 1;
  options.max_queue = 1;
  const auto engine = load_twice(options);
  fake_cuda::set_late(true);
  Outcomes outcomes;
  const Values input = rows(2);
  Gate gate;
  Request held = request_of(input);
  held.inputs_ready = gate.event();
  const auto first = engine->infer_async(held, {}, outcomes.of("first"));
  gate.wait();
  EXPECT_FALSE(engine->cancel(first)) << "it has begun";
  const auto second = engine->infer_async(request_of(input), {}, outcomes.of("second"));
  EXPECT_THROW(engine->infer_async(request_of(input), {}, outcomes.of("refused")), QueueFullError);
  EXPECT_TRUE(engine->cancel(second));
  EXPECT_FALSE(engine->cancel(second)) << "it is taken back already";
  EXPECT_FALSE(engine->cancel(12345)) << "there is no such call";
  const auto third = engine->infer_async(request_of(input), {}, outcomes.of("third"));
  EXPECT_THROW(engine->infer_async(request_of(input), {}, outcomes.of("refused")), QueueFullError);
  gate.open();
  outcomes.wait(2);
  EXPECT_FALSE(engine->cancel(third)) << "it has ended";
  engine->close();
  EXPECT_EQ(outcomes.told("first"), right(input));
  EXPECT_EQ(outcomes.told("second"), "");
  EXPECT_EQ(outcomes.told("third"), right(input));
  EXPECT_EQ(outcomes.told("refused"), "");
  EXPECT_EQ(engine->stats().calls, 2U);
}

TEST_P(AsyncOnStandin, DeadlinesAreToldWhileEveryThreadIsBusy) {
  using std::chrono::milliseconds;
  const auto engine = load_twice();
  fake_cuda::set_late(true);
  Outcomes outcomes;
  const Values input = rows(2);
  Gate gate;
  Request held = request_of(input);
  held.inputs_ready = gate.event();
  engine->infer_async(held, {}, outcomes.of("under way"));
  gate.wait();
  engine->infer_async(request_of(input), {}, outcomes.of("patient"));
  const auto soon = Clock::now() + milliseconds(30);
  engine->infer_async(request_of(input), Clock::now() + std::chrono::hours(1), outcomes.of("far"));
  engine->infer_async(request_of(input), soon, outcomes.of("soon"));
  engine->infer_async(request_of(input), soon - milliseconds(20), outcomes.of("sooner"));
  outcomes.wait(2);
  EXPECT_GE(Clock::now(), soon);
  for (const char* call : {"soon", "sooner"}) {
    EXPECT_EQ(outcomes.told(call), "DeadlineExceededError");
  }
  EXPECT_EQ(engine->stats().failures, 2U);
  gate.open();
  outcomes.wait(5);
  engine->close();
  for (const char* call : {"under way", "patient", "far"}) {
    EXPECT_EQ(outcomes.told(call), right(input));
  }
}

TEST_P(AsyncOnStandin, ClosingLeavesNoCallUntold) {
  const auto engine = load_twice();
  fake_cuda::set_late(true);
  Outcomes outcomes;
  const Values input = rows(2);
  Gate gate;
  Request held = request_of(input);
  held.inputs_ready = gate.event();
  engine->infer_async(held, {}, outcomes.of("under way"));
  gate.wait();
  for (const char* call : {"a", "b", "c"}) {
    engine->infer_async(request_of(input), {}, outcomes.of(call));
  }
  std::jthread closing([&] { engine->close(); });
  const std::jthread opening([&] {
    bool closed = false;
    while (!closed) {
      try {
        engine->infer_async(request_of(input), Clock::now(), [](const auto&) {});
        std::this_thread::yield();
      } catch (const ClosedError&) {
        closed = true;
      }
    }
    outcomes.wait(3);  // before the call under way has ended
    EXPECT_EQ(outcomes.told("under way"), "");
    gate.open();
  });
  closing.join();
  EXPECT_EQ(outcomes.told("under way"), right(input));
  for (const char* call : {"a", "b", "c"}) EXPECT_EQ(outcomes.told(call), "ClosedError");
}

TEST_P(AsyncOnStandin, AnOutcomeMayBeginTheNextCall) {
  const auto engine = load_twice();
  constexpr int kCalls = 20;
  const Values input = rows(2);
  std::atomic<int> right_ones = 0;
  std::atomic<int> calls = 0;
  AsyncCalls::Done done;
  done = [&](const trtfast::Outcome& outcome) {
    if (!outcome.error && values_of(outcome.outputs[0]) == twice(input)) ++right_ones;
    if (calls + 1 < kCalls) engine->infer_async(request_of(input), {}, done);
    ++calls;
  };
  engine->infer_async(request_of(input), {}, done);
  while (calls < kCalls) std::this_thread::yield();
  engine->close();
  EXPECT_EQ(right_ones, kCalls);
}

/// What a callback holds may call the engine as it ends.
TEST_P(AsyncOnStandin, WhatACallbackHoldsEndsWithoutALock) {
  const auto engine = load_twice();
  const Values input = rows(2);
  std::atomic<int> ended = 0;
  for (int call = 0; call < 3; ++call) {
    const std::shared_ptr<void> held(nullptr, [&](void*) {
      EXPECT_FALSE(engine->cancel(12345));
      ++ended;
    });
    engine->infer_async(request_of(input), {}, [held](const auto&) {});
  }
  engine->close();
  EXPECT_EQ(ended, 3);
}

TEST_P(AsyncOnStandin, ManyThreadsMixBothKindsOfCalls) {
  constexpr std::size_t kThreads = 6;
  constexpr std::size_t kTurns = 60;
  for (const int lanes : {1, 3}) {
    at_once_and_late([&] {
      const auto engine = load_twice(lanes);
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
          for (const Values& input : inputs[thread]) {
            if (is_right(*engine, input)) ++right_ones;
            const auto number =
                engine->infer_async(request_of(input), {}, [&](const trtfast::Outcome& outcome) {
                  if (!outcome.error && values_of(outcome.outputs[0]) == twice(input)) {
                    ++right_ones;
                  }
                  ++told;
                });
            if (number % 7 == 0 && engine->cancel(number)) ++cancelled;
          }
        });
      }
      threads.clear();
      while (told + cancelled < kThreads * kTurns) std::this_thread::yield();
      engine->close();
      EXPECT_EQ(told + cancelled, kThreads * kTurns);
      EXPECT_EQ(right_ones, (2 * kThreads * kTurns) - cancelled);
    });
  }
}

// Places in the lanes' queue and calls must be in the same order: else the one thread of a lane
// could wait for a place whose turn comes after that of a call that waits for the thread.
TEST_P(AsyncOnStandin, CallsFromManyThreadsKeepTheirOrder) {
  constexpr std::size_t kThreads = 8;
  constexpr std::size_t kTurns = 300;
  const auto engine = load_twice(1);
  const Values input = rows(1);
  std::atomic<std::size_t> told = 0;
  std::vector<std::jthread> threads;
  threads.reserve(kThreads);
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&] {
      for (std::size_t turn = 0; turn < kTurns; ++turn) {
        engine->infer_async(request_of(input), {}, [&](const auto&) { ++told; });
      }
    });
  }
  threads.clear();
  while (told < kThreads * kTurns) std::this_thread::yield();
  EXPECT_EQ(engine->stats().calls, kThreads * kTurns);
}

}  // namespace
}  // namespace standin_test
