// What calls in the background were told.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "error.h"
#include "fixture.h"

namespace standin_test {

/// What came of calls, by a name that the test gives each.
class Outcomes {
 public:
  [[nodiscard]] std::function<void(trtfast::Outcome)> of(const std::string& call) {
    return [this, call](const trtfast::Outcome& outcome) {
      const std::scoped_lock lock(mutex_);
      told_[call].push_back(text_of(outcome));
      ++count_;
      changed_.notify_all();  // under the lock: who waits may end this at once
    };
  }

  void wait(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ >= count; });
  }

  /// All that a call was told, one after the other: "" where it was told nothing.
  [[nodiscard]] std::string told(const std::string& call) {
    const std::scoped_lock lock(mutex_);
    std::string all;
    for (const auto& text : told_[call]) all += (all.empty() ? "" : ", ") + text;
    return all;
  }

 private:
  static std::string text_of(const trtfast::Outcome& outcome) {
    try {
      if (outcome.error) std::rethrow_exception(outcome.error);
      return testing::PrintToString(values_of(outcome.outputs.at(0)));
    } catch (const trtfast::Error& error) {
      return error.kind();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<std::string>> told_;
  std::size_t count_ = 0;
};

}  // namespace standin_test
