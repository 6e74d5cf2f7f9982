#include "tensorrt/log.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <utility>

namespace trtfast::tensorrt {
namespace {

// Guards every scope's lines and the list of scopes. Only errors take it, so it is never contended.
std::mutex& scope_mutex() {
  static auto* mutex = new std::mutex;  // leaked: a library may log while the process exits
  return *mutex;
}

std::vector<ErrorScope*>& live_scopes() {
  static auto* scopes = new std::vector<ErrorScope*>;
  return *scopes;
}

// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): a thread's stack of scopes
thread_local ErrorScope* innermost = nullptr;

}  // namespace

// Leaked: a library may log while the process exits. A forked child gets one of its own, since the
// parent's is left as it was in the middle of a wait, for a thread that the child does not have.
LogQueue& LogQueue::instance() {
  static std::atomic<LogQueue*> queue = [] {
    pthread_atfork(nullptr, nullptr, [] { queue = new LogQueue; });
    return new LogQueue;
  }();
  return *queue;
}

void LogQueue::set_threshold(Severity severity) {
  const std::scoped_lock lock(mutex_);
  threshold_ = severity;
}

void LogQueue::push(Severity severity, const char* text) {
  {
    const std::scoped_lock lock(mutex_);
    if (severity > threshold_ || closed_) return;
    if (lines_.size() == kCapacity) {
      ++dropped_;
      return;
    }
    lines_.push_back({severity, text});
  }
  filled_.notify_one();
}

std::vector<LogLine> LogQueue::take() {
  std::unique_lock lock(mutex_);
  filled_.wait(lock, [this] { return closed_ || !lines_.empty(); });
  std::vector<LogLine> taken(std::make_move_iterator(lines_.begin()),
                             std::make_move_iterator(lines_.end()));
  lines_.clear();
  if (const auto dropped = std::exchange(dropped_, 0); dropped > 0) {
    taken.push_back({Severity::kWarning, std::to_string(dropped) + " log lines were dropped"});
  }
  return taken;
}

void LogQueue::close() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  filled_.notify_all();
}

ErrorScope::ErrorScope() : outer_(innermost) {
  const std::scoped_lock lock(scope_mutex());
  live_scopes().push_back(this);
  innermost = this;
}

ErrorScope::~ErrorScope() {
  const std::scoped_lock lock(scope_mutex());
  std::erase(live_scopes(), this);
  innermost = outer_;
}

std::string ErrorScope::errors() const {
  const std::scoped_lock lock(scope_mutex());
  if (lines_.empty()) return "TensorRT gave no reason";
  std::string text;
  for (const auto& line : lines_) text += (text.empty() ? "" : "\n") + line;
  return text;
}

void ErrorScope::record(const char* text) {
  const std::scoped_lock lock(scope_mutex());
  // A thread without a scope is one of TensorRT's own: its error may belong to any call under way.
  const auto add = [text](ErrorScope& scope) {
    const bool repeated = !scope.lines_.empty() && scope.lines_.back() == text;
    if (!repeated && scope.lines_.size() < kLines) scope.lines_.emplace_back(text);
  };
  if (innermost != nullptr) {
    add(*innermost);
  } else {
    std::ranges::for_each(live_scopes(), [&](ErrorScope* scope) { add(*scope); });
  }
}

}  // namespace trtfast::tensorrt
