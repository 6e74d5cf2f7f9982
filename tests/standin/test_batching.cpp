// Which requests are run together, and when: with a runner of the test's own, which begins a batch
// when the test says so.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/batcher.h"
#include "engine/transfer.h"
#include "outcomes.h"
#include "serving_test.h"

namespace standin_test {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using trtfast::Batcher;
using trtfast::BatcherOptions;
using trtfast::BatchItem;
using trtfast::BatchItems;
using trtfast::Clock;
using trtfast::ClosedError;
using trtfast::QueueFullError;

constexpr float kPoison = -1;

/// Echoes a batch, and fails for one with kPoison in it.
class Echo final : public trtfast::BatchRunner {
 public:
  void run(const std::function<const BatchItems&()>& take, trtfast::Timeline& times) override {
    {
      std::unique_lock lock(mutex_);
      ++arrived_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return open_; });
    }
    const BatchItems& items = take();
    times.started = times.sent = times.computed = Clock::now();
    if (items.empty()) return;
    std::vector<trtfast::Share> shares;
    Values whole;
    for (const auto& item : items) {
      shares.push_back({item->rows(), &item->outputs});
      const auto* values = reinterpret_cast<const float*>(item->inputs[0].data);
      whole.insert(whole.end(), values, values + item->rows());
    }
    {
      std::unique_lock lock(mutex_);
      batches_.push_back(whole);
      thread_ = std::this_thread::get_id();
      changed_.notify_all();
      changed_.wait(lock, [this] { return may_end_; });
    }
    if (std::ranges::find(whole, kPoison) != whole.end()) throw InputError("poison");
    trtfast::deal(shares, "y", reinterpret_cast<const std::byte*>(whole.data()),
                  {static_cast<std::int64_t>(whole.size())}, trtfast::DataType::kFloat,
                  trtfast::cuda::Wait::kBlock);
  }

  /// That ran a batch last.
  [[nodiscard]] std::thread::id last_thread() const {
    const std::scoped_lock lock(mutex_);
    return thread_;
  }
  void set_open(bool open) {
    const std::scoped_lock lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  /// Whether batches that have begun may end.
  void let_end(bool may_end) {
    const std::scoped_lock lock(mutex_);
    may_end_ = may_end;
    changed_.notify_all();
  }
  /// Waits until so many batches have begun.
  void wait_until_begun(std::size_t batches) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return batches_.size() >= batches; });
  }
  /// Waits until threads have come to run a batch.
  void wait_for(std::size_t arrived) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= arrived; });
  }
  [[nodiscard]] std::vector<Values> batches() const {
    const std::scoped_lock lock(mutex_);
    return batches_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t arrived_ = 0;
  bool open_ = true;
  bool may_end_ = true;
  std::vector<Values> batches_;
  std::thread::id thread_;
};

/// A batcher, what runs its batches, and what its requests were told.
struct Batching {
  explicit Batching(const BatcherOptions& options) {
    auto runner = std::make_unique<Echo>();
    echo = runner.get();
    batcher = std::make_unique<Batcher>(std::move(runner), options);
  }

  /// Adds a request that is called as its value.
  Batcher::Item add(const Values& values, trtfast::Deadline deadline = {}) {
    const Values& kept = *inputs.emplace_back(std::make_unique<Values>(values));
    const auto item = std::make_shared<BatchItem>();
    item->inputs = {view(kept, {static_cast<std::int64_t>(kept.size())})};
    item->deadline = deadline;
    item->done = outcomes.of(testing::PrintToString(values));
    batcher->add(item);
    return item;
  }
  std::string told(const Values& values) { return outcomes.told(testing::PrintToString(values)); }

  std::vector<std::unique_ptr<Values>> inputs;
  Outcomes outcomes;
  Echo* echo = nullptr;
  std::unique_ptr<Batcher> batcher;
};

using Rows = std::vector<Values>;

TEST(Batching, ARequestAloneIsRunAtOnce) {
  Batching batching({.max_batch_size = 8});
  batching.add({1});
  batching.outcomes.wait(1);
  EXPECT_EQ(batching.told({1}), "{ 1 }");
  EXPECT_EQ(batching.echo->batches(), (Rows{{1}}));
}

TEST(Batching, ACallerWhoIsKnownToBeAloneWaitsForNobody) {
  Batching batching({.max_batch_size = 8, .max_queue_delay = milliseconds(500)});
  const auto begin = Clock::now();
  for (std::size_t call = 1; call <= 10; ++call) {
    batching.add({static_cast<float>(call)});
    batching.outcomes.wait(call);
  }
  EXPECT_GE(Clock::now() - begin, milliseconds(500)) << "the first did not wait for others";
  EXPECT_LT(Clock::now() - begin, milliseconds(2500)) << "others waited too";
  EXPECT_EQ(batching.echo->batches().size(), 10U);
}

TEST(Batching, ARequestThatIsWaitedForIsRunByItsOwnThread) {
  Batching batching({.max_batch_size = 8});
  const Values value = {1};
  const auto item = std::make_shared<BatchItem>();
  item->inputs = {view(value, {1})};
  const auto outputs = batching.batcher->infer(item);
  EXPECT_EQ(outputs.at(0).shape, (Shape{1}));
  EXPECT_EQ(batching.echo->last_thread(), std::this_thread::get_id());
}

TEST(Batching, AThreadThatStaysAwakeTakesWhatComes) {
  Batching batching(
      {.max_batch_size = 4, .max_queue_delay = milliseconds(1), .lanes = 2, .awake = hours(1)});
  for (std::size_t call = 1; call <= 20; ++call) {
    batching.add({static_cast<float>(call)});
    batching.outcomes.wait(call);
  }
  for (std::size_t call = 21; call <= 40; ++call) batching.add({static_cast<float>(call)});
  batching.outcomes.wait(40);
  for (std::size_t call = 1; call <= 40; ++call) {
    EXPECT_EQ(batching.told({static_cast<float>(call)}), "{ " + std::to_string(call) + " }");
  }
  batching.batcher->close();  // though it looks for an hour
}

TEST(Batching, LanesShareWhatIsKnownEvenly) {
  Batching batching({.max_batch_size = 8, .max_queue_delay = hours(1), .lanes = 3});
  batching.echo->let_end(false);
  batching.add({1, 2, 3, 4, 5, 6, 7, 8});
  batching.echo->wait_until_begun(1);
  for (const float value : {9.0F, 10.0F}) batching.add({value});
  EXPECT_EQ(batching.batcher->waiting(), 2U);
  batching.add({11});  // of 11 rows, 3 are a lane's share
  batching.echo->wait_until_begun(2);
  EXPECT_EQ(batching.echo->batches().at(1), (Values{9, 10, 11}));
  batching.echo->let_end(true);
}

TEST(Batching, CallersWhoWereAnsweredAreWaitedFor) {
  Batching batching({.max_batch_size = 3, .max_queue_delay = hours(1), .lanes = 1});
  batching.add({1, 2, 3});
  batching.outcomes.wait(1);
  batching.add({4});
  batching.add({5});
  EXPECT_EQ(batching.batcher->waiting(), 2U);
  batching.add({6});
  batching.outcomes.wait(4);
  EXPECT_EQ(batching.echo->batches(), (Rows{{1, 2, 3}, {4, 5, 6}}));
}

TEST(Batching, ButNoLongerThanTheDelay) {
  Batching batching({.max_batch_size = 3, .max_queue_delay = milliseconds(40)});
  batching.add({1, 2, 3});
  batching.outcomes.wait(1);
  const auto begin = Clock::now();
  batching.add({4});
  batching.outcomes.wait(2);
  EXPECT_LE(Clock::now() - begin, milliseconds(4000));
  EXPECT_EQ(batching.echo->batches(), (Rows{{1, 2, 3}, {4}}));
}

TEST(Batching, AFullBatchWaitsForNothing) {
  Batching batching({.max_batch_size = 3, .max_queue_delay = hours(1)});
  batching.add({1});
  batching.add({2});
  EXPECT_EQ(batching.batcher->waiting(), 2U);
  batching.add({3});
  batching.outcomes.wait(3);
  EXPECT_EQ(batching.echo->batches(), (Rows{{1, 2, 3}}));
}

TEST(Batching, NorDoesABatchOfAPreferredSize) {
  Batching batching({.max_batch_size = 100, .max_queue_delay = hours(1), .preferred = {2}});
  batching.add({1});
  batching.add({2});
  batching.outcomes.wait(2);
  EXPECT_EQ(batching.echo->batches(), (Rows{{1, 2}}));
}

TEST(Batching, ARequestWaitsForOthersNoLongerThanTheDelay) {
  Batching batching({.max_batch_size = 100, .max_queue_delay = milliseconds(40)});
  const auto begin = Clock::now();
  batching.add({1});
  batching.add({2});
  batching.outcomes.wait(2);
  EXPECT_GE(Clock::now() - begin, milliseconds(40));
  EXPECT_EQ(batching.echo->batches(), (Rows{{1, 2}}));
}

TEST(Batching, ABatchGrowsUntilItIsRun) {
  Batching batching({.max_batch_size = 3, .lanes = 1});
  batching.echo->set_open(false);
  batching.add({1});
  batching.echo->wait_for(1);
  batching.add({2, 3});
  batching.add({4});
  batching.echo->wait_for(2);  // for the second batch
  batching.add({5});
  batching.echo->set_open(true);
  batching.outcomes.wait(4);
  auto batches = batching.echo->batches();
  std::ranges::sort(batches);
  EXPECT_EQ(batches, (Rows{{1, 2, 3}, {4, 5}}));
}

TEST(Batching, OnlyThePoisonedRequestOfABatchFails) {
  Batching batching({.max_batch_size = 4, .max_queue_delay = hours(1)});
  for (const Values& values : Rows{{1}, {kPoison}, {2, 3}}) batching.add(values);
  batching.outcomes.wait(3);
  EXPECT_EQ(batching.told({1}), "{ 1 }");
  EXPECT_EQ(batching.told({2, 3}), "{ 2, 3 }");
  EXPECT_EQ(batching.told({kPoison}), "InputError");
  EXPECT_EQ(batching.batcher->stats().calls, 2U);
  EXPECT_EQ(batching.batcher->stats().failures, 1U);
}

TEST(Batching, AFullQueueRefuses) {
  Batching batching({.max_batch_size = 100, .max_queue_delay = hours(1), .max_queue = 2});
  batching.add({1});
  const auto second = batching.add({2});
  EXPECT_THROW(batching.add({3}), QueueFullError);
  EXPECT_TRUE(batching.batcher->cancel(second));
  batching.add({4});
  batching.batcher->close();
  EXPECT_EQ(batching.told({1}), "{ 1 }");
  EXPECT_EQ(batching.told({2}), "");
  EXPECT_EQ(batching.told({3}), "");
  EXPECT_EQ(batching.told({4}), "{ 4 }");
  EXPECT_EQ(batching.batcher->stats().rejected, 1U);
}

TEST(Batching, ARequestThatWaitsCanBeTakenBack) {
  Batching batching({.max_batch_size = 2, .max_queue_delay = hours(1)});
  const auto first = batching.add({1});
  EXPECT_TRUE(batching.batcher->cancel(first));
  EXPECT_FALSE(batching.batcher->cancel(first)) << "it is taken back already";
  batching.add({2});
  const auto third = batching.add({3});
  batching.outcomes.wait(2);
  EXPECT_FALSE(batching.batcher->cancel(third)) << "it has been run";
  EXPECT_EQ(batching.echo->batches(), (Rows{{2, 3}}));
  EXPECT_EQ(batching.batcher->stats().cancelled, 1U);
}

TEST(Batching, ABatchOfWhichAllIsTakenBackIsNotRun) {
  Batching batching({.max_batch_size = 2});
  batching.echo->set_open(false);
  const auto item = batching.add({1});
  batching.echo->wait_for(1);
  EXPECT_TRUE(batching.batcher->cancel(item));
  batching.echo->set_open(true);
  batching.batcher->close();
  EXPECT_EQ(batching.echo->batches(), Rows());
  EXPECT_EQ(batching.batcher->stats().executions, 0U);
}

TEST(Batching, DeadlinesAreToldWhileEveryThreadIsBusy) {
  Batching batching({.max_batch_size = 1});
  batching.echo->set_open(false);
  batching.add({1});
  batching.echo->wait_for(1);
  const auto soon = Clock::now() + milliseconds(30);
  batching.add({2}, Clock::now() + hours(1));
  batching.add({3}, soon);
  batching.add({4}, soon - milliseconds(20));
  batching.outcomes.wait(2);
  EXPECT_GE(Clock::now(), soon);
  EXPECT_EQ(batching.told({3}), "DeadlineExceededError");
  EXPECT_EQ(batching.told({4}), "DeadlineExceededError");
  EXPECT_EQ(batching.batcher->waiting(), 2U);
  batching.echo->set_open(true);
  batching.outcomes.wait(4);
  EXPECT_EQ(batching.told({1}), "{ 1 }");
  EXPECT_EQ(batching.told({2}), "{ 2 }");
  EXPECT_EQ(batching.batcher->stats().expired, 2U);
}

TEST(Batching, WhatIsTooLateAsItsBatchBeginsIsNotRun) {
  Batching batching({.max_batch_size = 9, .max_queue_delay = hours(1)});
  batching.add({1}, Clock::now());
  batching.add({2});
  batching.batcher->close();
  EXPECT_EQ(batching.told({1}), "DeadlineExceededError");
  EXPECT_EQ(batching.told({2}), "{ 2 }");
  EXPECT_EQ(batching.echo->batches(), (Rows{{2}}));
}

TEST(Batching, ClosingAnswersWhatWaitsAndRefusesTheRest) {
  Batching batching({.max_batch_size = 2, .max_queue_delay = hours(1), .lanes = 1});
  for (const Values& values : Rows{{1}, {2, 3}, {4}}) batching.add(values);
  batching.batcher->close();
  EXPECT_EQ(batching.told({1}), "{ 1 }");
  EXPECT_EQ(batching.told({2, 3}), "{ 2, 3 }");
  EXPECT_EQ(batching.told({4}), "{ 4 }");
  EXPECT_THROW(batching.add({5}), ClosedError);
  batching.batcher->close();
}

TEST(Batching, ClosingWaitsForABatchOnItsCallersThread) {
  Batching batching({.max_batch_size = 2});
  batching.echo->let_end(false);
  const Values value = {1};
  const auto item = std::make_shared<BatchItem>();
  item->inputs = {view(value, {1})};
  std::jthread caller([&] { EXPECT_EQ(batching.batcher->infer(item).size(), 1U); });
  batching.echo->wait_until_begun(1);
  std::atomic<bool> is_closed = false;
  std::jthread closer([&] {
    batching.batcher->close();
    is_closed = true;
  });
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_FALSE(is_closed);
  batching.echo->let_end(true);
  closer.join();
  caller.join();
  EXPECT_EQ(batching.batcher->stats().calls, 1U);
}

TEST(Batching, WhatFitsInNoBatchIsRefused) {
  Batching batching({.max_batch_size = 2});
  EXPECT_THROW(batching.add({1, 2, 3}), InputError);
  EXPECT_THROW(batching.add({}), InputError);
  const Values one = {1};
  const auto uneven = std::make_shared<BatchItem>();
  uneven->inputs = {view(one, {1}), view(one, {1, 1}), view(one, {})};
  EXPECT_THROW(batching.batcher->add(uneven), InputError);
  EXPECT_EQ(batching.batcher->waiting(), 0U);
  EXPECT_THROW(Batching({.max_batch_size = 0}), InputError);
  for (const std::int64_t size : {0, 3}) {
    EXPECT_THROW(Batching({.max_batch_size = 2, .preferred = {size}}), InputError);
  }
}

}  // namespace
}  // namespace standin_test
