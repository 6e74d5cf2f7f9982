#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tensorrt/log.h"

namespace trtfast::test {
namespace {

using tensorrt::ErrorScope;
using tensorrt::LogQueue;
using tensorrt::Severity;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kNone = "TensorRT gave no reason";

std::vector<std::string> texts_of(LogQueue& queue) {
  std::vector<std::string> texts;
  for (const auto& line : queue.take()) texts.push_back(line.text);
  return texts;
}

TEST(LogQueue, IsOneForTheProcess) { EXPECT_EQ(&LogQueue::instance(), &LogQueue::instance()); }

TEST(LogQueue, KeepsLinesUpToTheThresholdInOrder) {
  LogQueue queue;
  queue.push(Severity::kInfo, "no");
  queue.push(Severity::kWarning, "first");
  queue.push(Severity::kInternalError, "second");
  const auto lines = queue.take();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].severity, Severity::kWarning);
  EXPECT_EQ(lines[0].text, "first");
  EXPECT_EQ(lines[1].severity, Severity::kInternalError);
  EXPECT_EQ(lines[1].text, "second");
}

TEST(LogQueue, ThresholdCanBeSet) {
  LogQueue queue;
  queue.set_threshold(Severity::kVerbose);
  queue.push(Severity::kVerbose, "kept");
  queue.set_threshold(Severity::kInternalError);
  queue.push(Severity::kError, "not kept");
  EXPECT_THAT(texts_of(queue), ElementsAre("kept"));
}

TEST(LogQueue, DropsLinesOverItsCapacityAndSaysSoOnce) {
  constexpr std::size_t kCapacity = 4096;
  LogQueue queue;
  for (std::size_t line = 0; line < kCapacity + 3; ++line) {
    queue.push(Severity::kError, std::to_string(line).c_str());
  }
  auto lines = queue.take();
  ASSERT_EQ(lines.size(), kCapacity + 1);
  EXPECT_EQ(lines[0].text, "0");
  EXPECT_EQ(lines[kCapacity - 1].text, std::to_string(kCapacity - 1));
  EXPECT_EQ(lines.back().text, "3 log lines were dropped");
  EXPECT_EQ(lines.back().severity, Severity::kWarning);

  queue.push(Severity::kError, "after");
  EXPECT_THAT(texts_of(queue), ElementsAre("after"));
}

TEST(LogQueue, TakeWaitsForALine) {
  LogQueue queue;
  auto taken = std::async(std::launch::async, [&] { return texts_of(queue); });
  EXPECT_EQ(taken.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  queue.push(Severity::kError, "line");
  EXPECT_THAT(taken.get(), ElementsAre("line"));
}

TEST(LogQueue, CloseWakesEveryTake) {
  LogQueue queue;
  auto one = std::async(std::launch::async, [&] { return queue.take().size(); });
  auto other = std::async(std::launch::async, [&] { return queue.take().size(); });
  EXPECT_EQ(one.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  queue.close();
  EXPECT_EQ(one.get(), 0U);
  EXPECT_EQ(other.get(), 0U);
}

TEST(LogQueue, ClosedGivesWhatItHeldAndTakesNoMore) {
  LogQueue queue;
  queue.push(Severity::kError, "before");
  queue.close();
  queue.push(Severity::kError, "after");
  EXPECT_THAT(texts_of(queue), ElementsAre("before"));
  EXPECT_TRUE(queue.take().empty());
}

TEST(LogQueue, ManyThreadsLoseNoLine) {
  constexpr int kThreads = 4;
  constexpr int kLines = 500;
  LogQueue queue;
  std::size_t taken = 0;
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&] {
        for (int line = 0; line < kLines; ++line) queue.push(Severity::kError, "line");
      });
    }
    while (taken < std::size_t{kThreads} * kLines) taken += queue.take().size();
  }
  EXPECT_EQ(taken, std::size_t{kThreads} * kLines);
}

TEST(ErrorScope, CollectsErrorsWhileItLives) {
  ErrorScope::record("before");
  const ErrorScope scope;
  EXPECT_EQ(scope.errors(), kNone);
  ErrorScope::record("one");
  ErrorScope::record("two");
  EXPECT_EQ(scope.errors(), "one\ntwo");
}

TEST(ErrorScope, InnermostTakesTheErrorsOfItsThread) {
  const ErrorScope outer;
  {
    const ErrorScope inner;
    ErrorScope::record("inside");
    EXPECT_EQ(inner.errors(), "inside");
  }
  EXPECT_EQ(outer.errors(), kNone);
  ErrorScope::record("outside");
  EXPECT_EQ(outer.errors(), "outside");
}

TEST(ErrorScope, RepeatedLinesCountOnce) {
  const ErrorScope scope;
  for (const char* line : {"same", "same", "other", "same"}) ErrorScope::record(line);
  EXPECT_EQ(scope.errors(), "same\nother\nsame");
}

TEST(ErrorScope, KeepsTheFirstLines) {
  const ErrorScope scope;
  for (int line = 0; line < 20; ++line) ErrorScope::record(std::to_string(line).c_str());
  EXPECT_EQ(scope.errors(), "0\n1\n2\n3\n4\n5\n6\n7");
}

TEST(ErrorScope, ThreadsWithoutAScopeReportToAll) {
  const ErrorScope outer;
  const ErrorScope inner;
  std::thread([] { ErrorScope::record("worker"); }).join();
  EXPECT_EQ(outer.errors(), "worker");
  EXPECT_EQ(inner.errors(), "worker");
}

TEST(ErrorScope, ThreadsWithAScopeKeepTheirErrors) {
  const ErrorScope mine;
  std::string theirs;
  std::thread([&] {
    const ErrorScope scope;
    ErrorScope::record("theirs");
    theirs = scope.errors();
  }).join();
  EXPECT_EQ(theirs, "theirs");
  EXPECT_EQ(mine.errors(), kNone);
}

TEST(ErrorScope, ScopesComeAndGoOnManyThreads) {
  const ErrorScope mine;
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([] {
        for (int round = 0; round < 200; ++round) {
          const ErrorScope scope;
          ErrorScope::record("theirs");
          ASSERT_THAT(scope.errors(), HasSubstr("theirs"));  // and a worker's, perhaps
        }
        ErrorScope::record("worker");
      });
    }
  }
  EXPECT_EQ(mine.errors(), "worker");
}

}  // namespace
}  // namespace trtfast::test
