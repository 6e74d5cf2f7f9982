// Of what a batch is due, and when: by a clock of the test's own.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/batch_queue.h"

namespace standin_test {
namespace {

using std::chrono::milliseconds;
using trtfast::BatcherOptions;
using trtfast::BatchItem;
using trtfast::BatchQueue;
using trtfast::Clock;

constexpr milliseconds kDelay{10};

/// A queue, and the time.
struct Queue : BatchQueue {
  explicit Queue(BatcherOptions options) : BatchQueue(std::move(options)) {}

  /// A moment after the start.
  static Clock::time_point at(int ms) { return Clock::time_point{} + milliseconds(ms); }

  Added add_at(int ms, std::int64_t rows, std::int64_t width = 1) {
    const auto item = std::make_shared<BatchItem>();
    item->inputs = {{nullptr, {rows, width}, trtfast::DataType::kFloat}};
    item->times.asked = at(ms);
    return add(items.emplace_back(item));
  }

  /// The rows of a batch that is taken at once; none where none is due.
  std::optional<std::int64_t> take_at(int ms) {
    const auto group = claim_due(at(ms));
    if (!group) return std::nullopt;
    return take(*group, at(ms)).rows;
  }

  std::vector<Item> items;
};

TEST(BatchQueue, WaitsForAWholeBatchOrForTheDelayOfItsFirst) {
  Queue queue({.max_batch_size = 4, .max_queue_delay = kDelay, .lanes = 2});
  EXPECT_EQ(queue.add_at(0, 1).due, Queue::at(10));
  EXPECT_EQ(queue.add_at(3, 2).due, Queue::at(10));
  EXPECT_EQ(queue.take_at(9), std::nullopt);
  EXPECT_EQ(queue.take_at(10), 3);
  EXPECT_EQ(queue.next_due(), BatchQueue::kNever);

  Queue full({.max_batch_size = 4, .max_queue_delay = kDelay, .lanes = 2});
  static_cast<void>(full.add_at(0, 3));
  EXPECT_EQ(full.add_at(1, 3).due, BatchQueue::kAtOnce);
  EXPECT_EQ(full.take_at(1), 3) << "a request is in one batch";
  EXPECT_EQ(full.waiting(), 1);
}

TEST(BatchQueue, WaitsForALanesShareOfThoseWhoMayComeBack) {
  Queue queue({.max_batch_size = 16, .max_queue_delay = kDelay, .lanes = 2});
  for (int caller = 0; caller < 8; ++caller) static_cast<void>(queue.add_at(0, 1));
  EXPECT_EQ(queue.take_at(10), 8) << "all that there is, as nobody is known";
  for (int caller = 0; caller < 2; ++caller) static_cast<void>(queue.add_at(11, 1));
  queue.have_run(8, Queue::at(12));
  EXPECT_EQ(queue.take_at(12), std::nullopt) << "10 rows are known, and 5 are a lane's share";
  for (int caller = 0; caller < 2; ++caller) static_cast<void>(queue.add_at(13, 1));
  EXPECT_EQ(queue.add_at(14, 1).due, BatchQueue::kAtOnce);
  EXPECT_EQ(queue.take_at(14), 5);
}

TEST(BatchQueue, SharesWhatIsKnownAmongAllLanes) {
  Queue queue({.max_batch_size = 16, .max_queue_delay = kDelay, .lanes = 3});
  for (int caller = 0; caller < 16; ++caller) static_cast<void>(queue.add_at(0, 1));
  EXPECT_EQ(queue.take_at(0), 16) << "nobody was known";
  queue.have_run(16, Queue::at(1));
  for (int caller = 0; caller < 4; ++caller) static_cast<void>(queue.add_at(2, 1));
  EXPECT_EQ(queue.take_at(2), std::nullopt);
  EXPECT_EQ(queue.add_at(2, 1).due, BatchQueue::kAtOnce)
      << "of 16 rows and 3 lanes, else the last would wait for the others' callers";
  for (int caller = 5; caller < 16; ++caller) static_cast<void>(queue.add_at(2, 1));
  EXPECT_EQ(queue.take_at(2), 6) << "and no more than a share, else the others would have less";
  EXPECT_EQ(queue.take_at(2), 6);
  EXPECT_EQ(queue.take_at(2), std::nullopt);
  EXPECT_EQ(queue.add_at(3, 1).due, BatchQueue::kAtOnce) << "17 rows are known, and 5 wait";
  EXPECT_EQ(queue.take_at(3), 5);
}

TEST(BatchQueue, TakesABatchAtMostOfALongQueue) {
  Queue queue({.max_batch_size = 16, .max_queue_delay = kDelay, .lanes = 2});
  for (int caller = 0; caller < 100; ++caller) static_cast<void>(queue.add_at(0, 1));
  for (int batch = 0; batch < 5; ++batch) EXPECT_EQ(queue.take_at(0), 16);
  EXPECT_EQ(queue.take_at(0), 16) << "80 run, and half of 100 are more";
  EXPECT_EQ(queue.take_at(0), std::nullopt);
  EXPECT_EQ(queue.take_at(10), 4);
}

TEST(BatchQueue, ForgetsThoseWhoDoNotComeBack) {
  Queue queue({.max_batch_size = 16, .max_queue_delay = 100 * kDelay, .lanes = 1});
  static_cast<void>(queue.add_at(0, 8));
  EXPECT_EQ(queue.take_at(1000), 8);
  queue.have_run(8, Queue::at(1001));
  // For four delays the others are waited for, up to the delay.
  EXPECT_EQ(queue.add_at(4500, 1).due, Queue::at(5001));
  EXPECT_EQ(queue.take_at(5000), std::nullopt);
  EXPECT_EQ(queue.take_at(5001), std::nullopt) << "nobody is known, and a batch is not full";
  EXPECT_EQ(queue.take_at(5500), 1);
}

TEST(BatchQueue, WaitsForNobodyWhoRunsAlone) {
  Queue queue({.max_batch_size = 16, .max_queue_delay = kDelay, .lanes = 4});
  static_cast<void>(queue.add_at(0, 1));
  EXPECT_EQ(queue.take_at(10), 1);
  queue.have_run(1, Queue::at(11));
  EXPECT_EQ(queue.add_at(12, 1).due, BatchQueue::kAtOnce) << "the one who was known has come";
}

TEST(BatchQueue, CutsWhatWaitsToThePreferredSizes) {
  Queue queue({.max_batch_size = 16, .max_queue_delay = kDelay, .preferred = {8, 4}, .lanes = 1});
  for (int index = 0; index < 3; ++index) {
    EXPECT_EQ(queue.add_at(0, 1).due, Queue::at(10));
  }
  EXPECT_EQ(queue.add_at(0, 1).due, BatchQueue::kAtOnce);
  for (int index = 0; index < 7; ++index) static_cast<void>(queue.add_at(1, 1));
  EXPECT_EQ(queue.take_at(1), 8);
  EXPECT_EQ(queue.take_at(9), std::nullopt) << "3 wait, and 4 are enough";
  EXPECT_EQ(queue.take_at(11), 3);

  Queue two({.max_batch_size = 16, .max_queue_delay = kDelay, .preferred = {8}, .lanes = 2});
  for (int index = 0; index < 8; ++index) static_cast<void>(two.add_at(0, 1));
  EXPECT_EQ(two.take_at(0), 8);
  for (int index = 0; index < 5; ++index) static_cast<void>(two.add_at(1, 1));
  EXPECT_EQ(two.take_at(1), std::nullopt) << "a lane's share are 6";
  for (int index = 0; index < 3; ++index) static_cast<void>(two.add_at(1, 1));
  EXPECT_EQ(two.take_at(1), 8) << "a preferred size is taken whole";
}

TEST(BatchQueue, TakesTheGroupFirstThatWaitsLongest) {
  Queue queue({.max_batch_size = 2, .lanes = 1});
  static_cast<void>(queue.add_at(0, 1, 7));
  static_cast<void>(queue.add_at(1, 2, 5));
  static_cast<void>(queue.add_at(2, 2, 7));
  EXPECT_EQ(queue.take_at(3), 1);
  EXPECT_EQ(queue.take_at(3), 2);
  EXPECT_EQ(queue.items[1].use_count(), 1) << "of the other width";
  EXPECT_EQ(queue.take_at(3), 2);
  EXPECT_EQ(queue.take_at(3), std::nullopt);
}

TEST(BatchQueue, IsDueOfWhatNobodyHasClaimed) {
  Queue queue({.max_batch_size = 2, .max_queue_delay = kDelay, .lanes = 2});
  static_cast<void>(queue.add_at(0, 1));
  const auto added = queue.add_at(1, 1);
  BatchQueue::claim(added.group);
  EXPECT_EQ(queue.next_due(), BatchQueue::kNever);
  const auto third = queue.add_at(2, 1);
  EXPECT_EQ(third.due, Queue::at(12));
  EXPECT_TRUE(third.is_news);
  const auto fourth = queue.add_at(3, 1);
  EXPECT_EQ(fourth.due, BatchQueue::kAtOnce);
  EXPECT_TRUE(fourth.is_news);
  EXPECT_FALSE(queue.add_at(4, 1).is_news) << "it was due before";
}

TEST(BatchQueue, TellsWhatIsLateFromWhatIsRun) {
  Queue queue({.max_batch_size = 4, .max_queue_delay = kDelay, .lanes = 1});
  static_cast<void>(queue.add_at(0, 1));
  static_cast<void>(queue.add_at(0, 1));
  static_cast<void>(queue.add_at(0, 1));
  queue.items[0]->deadline = Queue::at(5);
  queue.items[1]->deadline = Queue::at(20);
  const auto group = queue.claim_due(Queue::at(10));
  ASSERT_TRUE(group);
  const auto taken = queue.take(*group, Queue::at(10));
  EXPECT_EQ(taken.late, trtfast::BatchItems{queue.items[0]});
  EXPECT_EQ(taken.items, (trtfast::BatchItems{queue.items[1], queue.items[2]}));

  static_cast<void>(queue.add_at(11, 1));
  static_cast<void>(queue.add_at(11, 1));
  queue.items[3]->deadline = Queue::at(12);
  queue.items[4]->deadline = Queue::at(30);
  const auto late = queue.remove_late(Queue::at(12));
  EXPECT_EQ(late.items, trtfast::BatchItems{queue.items[3]});
  EXPECT_EQ(late.following, Queue::at(30));
  EXPECT_TRUE(queue.remove(queue.items[4]));
  EXPECT_FALSE(queue.remove(queue.items[4]));
  EXPECT_EQ(queue.waiting(), 0);
}

TEST(BatchQueue, WaitsForNobodyOnceItIsClosed) {
  Queue queue({.max_batch_size = 4, .max_queue_delay = kDelay, .lanes = 1});
  static_cast<void>(queue.add_at(0, 1));
  queue.close();
  EXPECT_FALSE(queue.is_done());
  EXPECT_EQ(queue.take_at(0), 1);
  EXPECT_TRUE(queue.is_done());
}

}  // namespace
}  // namespace standin_test
