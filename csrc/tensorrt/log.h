// TensorRT's log lines: a queue that Python's logging empties, and the last errors of a thread,
// which become part of an exception's message.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "tensorrt/types.h"

namespace trtfast::tensorrt {

struct LogLine {
  Severity severity;
  std::string text;
};

/// The one queue of the process. A line is dropped rather than making TensorRT wait.
class LogQueue {
 public:
  static LogQueue& instance();

  /// Lines less severe than this are not queued.
  void set_threshold(Severity severity);

  void push(Severity severity, const char* text);

  /// Waits for lines; returns an empty vector once the queue is closed.
  [[nodiscard]] std::vector<LogLine> take();

  /// Lets take() return for good, so that its thread can end before the interpreter does.
  void close();

 private:
  static constexpr std::size_t kCapacity = 4096;

  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<LogLine> lines_;
  std::size_t dropped_ = 0;
  Severity threshold_ = Severity::kWarning;
  bool closed_ = false;
};

/// Collects what TensorRT logs as an error while it lives: lines of its own thread, and of threads
/// that TensorRT started meanwhile.
class ErrorScope {
 public:
  ErrorScope();
  ~ErrorScope();
  ErrorScope(const ErrorScope&) = delete;  // registered by address
  ErrorScope& operator=(const ErrorScope&) = delete;

  /// The lines so far, one a line, or "TensorRT gave no reason".
  [[nodiscard]] std::string errors() const;

  /// Called by the logger, on any thread.
  static void record(const char* text);

 private:
  static constexpr std::size_t kLines = 8;

  ErrorScope* outer_;
  std::vector<std::string> lines_;
};

}  // namespace trtfast::tensorrt
