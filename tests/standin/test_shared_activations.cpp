// Lanes that share one activation memory: their runs take turns, in the order of events.
#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "serving_test.h"

namespace standin_test {
namespace {

class SharedActivationsOnStandin : public ServingTest {
 protected:
  static trtfast::EngineOptions shared(int lanes) {
    trtfast::EngineOptions options;
    options.lanes = lanes;
    options.activations = trtfast::Sharing::kShared;
    return options;
  }
};
INSTANTIATE_FOR_RELEASES(SharedActivationsOnStandin);

TEST_P(SharedActivationsOnStandin, ThereIsOneForAllLanes) {
  const auto shared_engine = load_twice(shared(3));
  shared_engine->warm_up({});
  const auto report = shared_engine->memory();
  ASSERT_EQ(report.lanes.size(), 3U);
  EXPECT_GT(report.shared_activations, 0U);
  for (const auto& lane : report.lanes) EXPECT_EQ(lane.activations, 0U);

  const auto own = load_twice(3);
  own->warm_up({});
  EXPECT_EQ(own->memory().shared_activations, 0U);
  for (const auto& lane : own->memory().lanes) {
    EXPECT_EQ(lane.activations, report.shared_activations);
  }
}

// The stand-in refuses runs and launches that no event orders.
TEST_P(SharedActivationsOnStandin, RunsOfDifferentStreamsTakeTurns) {
  fake_cuda::set_late(true);
  const auto engine = load_twice(shared(2));
  const trtfast::cuda::Stream streams[3];
  std::vector<std::unique_ptr<DeviceValues>> inputs;
  std::vector<std::unique_ptr<DeviceValues>> outputs;
  for (std::size_t i = 0; i < 3; ++i) {
    inputs.push_back(std::make_unique<DeviceValues>(Values(4)));
    outputs.push_back(std::make_unique<DeviceValues>(Values(4)));
  }
  for (std::size_t turn = 0; turn < 8; ++turn) {
    for (std::size_t i = 0; i < 3; ++i) {
      inputs[i]->set(rows(2, turn + i));
      static_cast<void>(engine->infer({.inputs = {inputs[i]->view({2, 2})},
                                       .outputs = {outputs[i]->output({2, 2})},
                                       .stream = streams[i].get()}));
    }
    for (std::size_t i = 3; i-- > 0;) {
      streams[i].synchronize();
      EXPECT_EQ(outputs[i]->values(), twice(rows(2, turn + i)));
    }
  }
}

TEST_P(SharedActivationsOnStandin, LanesOnDifferentStreamsTakeTurns) {
  fake_cuda::set_late(true);
  const auto engine = load_twice(shared(2));
  engine->warm_up({{{2, 2}}});
  Gate gate;
  const Values input = rows(2, 5);
  const auto held = [&] {
    const auto outputs =
        engine->infer({.inputs = {view(input, {2, 2})}, .inputs_ready = gate.event()});
    EXPECT_EQ(values_of(outputs[0]), twice(input));
  };
  std::jthread first(held);
  gate.wait();
  std::jthread second([&] { EXPECT_TRUE(is_right(*engine, rows(2, 6))); });
  while (engine->stats().graph_hits < 2) std::this_thread::yield();
  EXPECT_EQ(engine->stats().calls, 0U) << "the second was submitted, and runs after the first";
  gate.open();
  first.join();
  second.join();
  EXPECT_EQ(engine->stats().graph_hits, 2U);
}

TEST_P(SharedActivationsOnStandin, EveryCallOfManyThreadsGetsItsOwnAnswer) {
  constexpr std::size_t kThreads = 6;
  constexpr std::size_t kTurns = 150;
  at_once_and_late([&] {
    const auto engine = load(build(kTwice, {profile("x", {1, 2}, {2, 2}, {4, 2}),
                                            profile("x", {5, 2}, {6, 2}, {60, 2})}),
                             shared(3));
    std::atomic<std::size_t> right = 0;
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t turn = 0; turn < kTurns; ++turn) {
          const std::size_t count = 1 + (((thread * 5) + turn) % 12);
          if (is_right(*engine, rows(count, (thread * kTurns) + turn))) ++right;
        }
      });
    }
    threads.clear();
    EXPECT_EQ(right, kThreads * kTurns);
    EXPECT_GT(engine->stats().graph_hits, 0U);
  });
}

TEST_P(SharedActivationsOnStandin, OutputsThatDependOnDataTakeTurnsToo) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kTurns = 100;
  at_once_and_late([&] {
    const auto engine = load(build(kPositive, {profile("x", {1}, {4}, {8})}), shared(2));
    std::atomic<std::size_t> right = 0;
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t turn = 1; turn <= kTurns; ++turn) {
          const auto value = static_cast<float>((thread * kTurns) + turn);
          if (run(*engine, {value, -value, 2 * value}, {3}) == Values{value, 2 * value}) ++right;
        }
      });
    }
    threads.clear();
    EXPECT_EQ(right, kThreads * kTurns);
  });
}

}  // namespace
}  // namespace standin_test
