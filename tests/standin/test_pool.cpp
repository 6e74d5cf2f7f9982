// The queue of calls for an engine's lanes.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "engine/lane_pool.h"
#include "serving_test.h"

namespace standin_test {
namespace {

using std::chrono::milliseconds;
using trtfast::Clock;
using trtfast::ClosedError;
using trtfast::Deadline;
using trtfast::DeadlineExceededError;
using trtfast::Lane;
using trtfast::LanePool;
using trtfast::QueueFullError;

class PoolOnStandin : public ServingTest {
 protected:
  void SetUp() override {
    ServingTest::SetUp();
    const auto bytes = build(kTwice, {profile("x", {1, 2}, {2, 2}, {200, 2})});
    plan_ = std::make_shared<const trtfast::Plan>(library_, bytes, 0, false);
  }
  void TearDown() override {
    plan_.reset();
    ServingTest::TearDown();
  }

  [[nodiscard]] std::unique_ptr<LanePool> make_pool(
      std::size_t lanes, std::optional<std::size_t> max_queue = std::nullopt) {
    return std::make_unique<LanePool>(
        [this] { return std::make_unique<Lane>(plan_, trtfast::LaneOptions{}, nullptr, stats_); },
        [](std::unique_ptr<Lane> lane) { lane.reset(); }, lanes, max_queue);
  }

  std::shared_ptr<const trtfast::Plan> plan_;
  trtfast::Stats stats_;
};
INSTANTIATE_FOR_RELEASES(PoolOnStandin);

TEST_P(PoolOnStandin, ServesInTheOrderOfArrival) {
  constexpr std::size_t kCalls = 12;
  const auto pool = make_pool(1);
  std::optional busy(pool->enter().lease());
  std::vector<LanePool::Place> places;
  places.reserve(kCalls);
  for (std::size_t call = 0; call < kCalls; ++call) places.push_back(pool->enter());
  std::vector<std::size_t> served;
  std::vector<std::jthread> threads;
  std::atomic<std::size_t> started = 0;
  for (std::size_t call = kCalls; call-- > 0;) {  // those who came last wait first
    threads.emplace_back([&, call] {
      ++started;
      const auto lease = std::move(places[call]).lease();
      served.push_back(call);  // by the one who has the only lane
    });
  }
  while (started < kCalls) std::this_thread::yield();
  EXPECT_EQ(served.size(), 0U);
  busy.reset();
  threads.clear();
  std::vector<std::size_t> expected(kCalls);
  for (std::size_t call = 0; call < kCalls; ++call) expected[call] = call;
  EXPECT_EQ(served, expected);
}

TEST_P(PoolOnStandin, ALateComerDoesNotOvertakeThoseWhoWait) {
  const auto pool = make_pool(1);
  std::optional busy(pool->enter().lease());
  std::optional first(pool->enter());
  busy.reset();  // the lane is for the first, who has not come for it yet
  const Deadline soon = Clock::now() + milliseconds(5);
  EXPECT_THROW(static_cast<void>(pool->enter().lease(soon)), DeadlineExceededError);
  first.reset();  // who leaves
  EXPECT_NE(pool->enter().lease().operator->(), nullptr);
}

TEST_P(PoolOnStandin, APlaceThatIsLeftIsPassedOver) {
  const auto pool = make_pool(1);
  std::optional busy(pool->enter().lease());
  std::optional leaves(pool->enter());
  auto stays = pool->enter();
  leaves.reset();
  busy.reset();
  EXPECT_NE(std::move(stays).lease().operator->(), nullptr);
}

TEST_P(PoolOnStandin, TheQueueHasALength) {
  const auto pool = make_pool(1, 2);
  std::optional busy(pool->enter().lease());
  std::optional first(pool->enter());
  const auto second = pool->enter();
  EXPECT_THAT(thrown_by<QueueFullError>([&] { static_cast<void>(pool->enter()); }).what(),
              HasSubstr("max_queue=2 calls wait already"));
  first.reset();
  const std::optional third(pool->enter());
  EXPECT_THROW(static_cast<void>(pool->enter()), QueueFullError);
  busy.reset();  // the lane is for the second, who waits no longer
  const auto fourth = pool->enter();
  EXPECT_THROW(static_cast<void>(pool->enter()), QueueFullError);
}

TEST_P(PoolOnStandin, NobodyMayWait) {
  const auto pool = make_pool(2, 0);
  {
    const auto first = pool->enter().lease();
    const auto second = pool->enter().lease();
    EXPECT_THROW(static_cast<void>(pool->enter()), QueueFullError);
  }
  EXPECT_NE(pool->enter().lease().operator->(), nullptr);
}

TEST_P(PoolOnStandin, ADeadlineEndsTheWait) {
  const auto pool = make_pool(1);
  std::optional busy(pool->enter().lease());
  const auto start = Clock::now();
  const auto error = thrown_by<DeadlineExceededError>(
      [&] { static_cast<void>(pool->enter().lease(start + milliseconds(30))); });
  EXPECT_GE(Clock::now() - start, milliseconds(30));
  EXPECT_THAT(error.what(), HasSubstr("it was not run"));
  busy.reset();
  EXPECT_THROW(static_cast<void>(pool->enter().lease(start)), DeadlineExceededError)
      << "the lane is free, but it is too late";
  EXPECT_NE(pool->enter().lease(Clock::now() + std::chrono::hours(1)).operator->(), nullptr);
}

TEST_P(PoolOnStandin, ClosingWakesThoseWhoWait) {
  constexpr std::size_t kCalls = 4;
  const auto pool = make_pool(1);
  std::optional busy(pool->enter().lease());
  std::vector<LanePool::Place> places;
  places.reserve(kCalls);
  for (std::size_t call = 0; call < kCalls; ++call) places.push_back(pool->enter());
  std::atomic<std::size_t> closed = 0;
  std::vector<std::jthread> threads;
  threads.reserve(kCalls);
  for (auto& place : places) {
    threads.emplace_back([&closed, &place] {
      EXPECT_THROW(static_cast<void>(std::move(place).lease()), ClosedError);
      ++closed;
    });
  }
  std::jthread closing([&] { pool->close(); });
  threads.clear();  // though the lane is not back
  EXPECT_EQ(closed, kCalls);
  EXPECT_THROW(static_cast<void>(pool->enter()), ClosedError);
  EXPECT_EQ(pool->memory().size(), 1U) << "what is under way keeps its lane";
  busy.reset();
  closing.join();
  EXPECT_THAT(recording_->live_objects(), testing::Not(HasSubstr("IExecutionContext")));
  EXPECT_EQ(pool->memory().size(), 0U);
  pool->close();
}

TEST_P(PoolOnStandin, WhoMakesALaneKeepsNobodyWaiting) {
  const auto pool = make_pool(3);
  const auto first = pool->enter().lease();
  std::optional makes(pool->enter());  // and takes time for it
  const auto third = pool->enter().lease();
  EXPECT_NE(first.operator->(), third.operator->());
  EXPECT_EQ(pool->memory().size(), 2U);
  const auto second = std::move(*makes).lease();
  EXPECT_EQ(pool->memory().size(), 3U);
}

TEST_P(PoolOnStandin, ALaneThatCannotBeMadeLeavesItsRoomToTheNext) {
  const auto pool = make_pool(2);
  std::optional busy(pool->enter().lease());
  std::optional first(pool->enter());
  auto second = pool->enter();
  fake_cuda::fail("cudaStreamCreateWithFlags", 1);
  EXPECT_THROW(static_cast<void>(std::move(*first).lease()), trtfast::CudaError);
  first.reset();
  const auto lease = std::move(second).lease();
  EXPECT_NE(lease.operator->(), busy->operator->());
  EXPECT_EQ(pool->memory().size(), 2U);
}

TEST_P(PoolOnStandin, EveryLaneIsMetOnce) {
  const auto pool = make_pool(4);
  for (int turn = 0; turn < 3; ++turn) {
    std::set<const Lane*> met;
    int calls = 0;
    pool->for_each([&](Lane& lane) {
      met.insert(&lane);
      ++calls;
    });
    EXPECT_EQ(met.size(), 4U);
    EXPECT_EQ(calls, 4);
  }
  EXPECT_EQ(pool->memory().size(), 4U);
}

TEST_P(PoolOnStandin, MeetingEveryLaneIsNotHeldUpByTheQueuesLength) {
  const auto pool = make_pool(1, 0);
  std::optional busy(pool->enter().lease());
  std::atomic<int> met = 0;
  std::jthread meeting([&] { pool->for_each([&](Lane&) { ++met; }); });
  busy.reset();
  meeting.join();
  EXPECT_EQ(met, 1);
}

TEST_P(PoolOnStandin, SeveralMayMeetEveryLaneDuringTraffic) {
  constexpr int kTurns = 30;
  const auto pool = make_pool(3);
  std::atomic<int> met = 0;
  std::atomic<int> served = 0;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 2; ++thread) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < kTurns; ++turn) pool->for_each([&](Lane&) { ++met; });
    });
    threads.emplace_back([&] {
      for (int turn = 0; turn < kTurns; ++turn) {
        const auto lease = pool->enter().lease();
        ++served;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(met, 2 * kTurns * 3);
  EXPECT_EQ(served, 2 * kTurns);
}

// The engine's part.
TEST_P(PoolOnStandin, AnEngineDoesNotRunWhatComesTooLate) {
  const auto engine = load_twice();
  const Values input = rows(2);
  recording_->forget();
  EXPECT_THROW(static_cast<void>(engine->infer({{view(input, {2, 2})}}, Clock::now())),
               DeadlineExceededError);
  EXPECT_EQ(recording_->count("IExecutionContext::enqueueV3"), 0U);
  EXPECT_EQ(engine->stats().failures, 1U);
  EXPECT_EQ(engine->stats().calls, 0U);
  const auto outputs = engine->infer({{view(input, {2, 2})}}, Clock::now() + std::chrono::hours(1));
  EXPECT_EQ(values_of(outputs[0]), twice(input));
  EXPECT_EQ(engine->stats().calls, 1U);
}

TEST_P(PoolOnStandin, AnEngineRefusesWhatItsQueueHasNoPlaceFor) {
  trtfast::EngineOptions options;
  options.lanes = 1;
  options.max_queue = 0;
  const auto engine = load_twice(options);
  fake_cuda::set_late(true);
  Gate gate;
  const Values input = rows(2);
  std::jthread held([&] {
    const auto outputs =
        engine->infer({.inputs = {view(input, {2, 2})}, .inputs_ready = gate.event()});
    EXPECT_EQ(values_of(outputs[0]), twice(input));
  });
  gate.wait();
  EXPECT_THROW(static_cast<void>(run(*engine, input, {2, 2})), QueueFullError);
  gate.open();
  held.join();
  EXPECT_TRUE(is_right(*engine, input));
}

TEST_P(PoolOnStandin, WarmUpsMayRunDuringTraffic) {
  const auto engine = load_twice(2);
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  for (std::size_t thread = 0; thread < 2; ++thread) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 5; ++turn) engine->warm_up({{{4, 2}}, {{2, 2}}});
    });
    threads.emplace_back([&, thread] {
      for (std::size_t turn = 0; turn < 20; ++turn) {
        if (!is_right(*engine, rows(1 + (turn % 4), thread + turn))) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(engine->memory().lanes.size(), 2U);
}

}  // namespace
}  // namespace standin_test
