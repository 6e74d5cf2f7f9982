#include "tensorrt/callbacks.h"

#include <mutex>
#include <unordered_map>
#include <utility>

#include "tensorrt/log.h"

namespace trtfast::tensorrt {
namespace {

void log_line(Severity severity, const char* text) noexcept {
  try {
    if (severity <= Severity::kError) ErrorScope::record(text);
    LogQueue::instance().push(severity, text);
  } catch (...) {  // NOLINT(bugprone-empty-catch): no memory for a log line; TensorRT is noexcept
  }
}

// Where ILogger and IProfiler are no versioned interfaces yet.
bool has_plain_shapes(Generation generation) noexcept {
  return generation == Generation::kTrt10 || generation == Generation::kRtx14;
}

/// The base of every versioned interface.
struct Versioned {
  [[nodiscard]] virtual std::int32_t getAPILanguage() const noexcept { return 0; }  // C++
  [[nodiscard]] virtual InterfaceInfo getInterfaceInfo() const noexcept = 0;
  virtual ~Versioned() = default;
};

struct PlainLogger {
  virtual void log(Severity severity, const char* text) noexcept { log_line(severity, text); }
  virtual ~PlainLogger() = default;
};

struct VersionedLogger final : Versioned {
  [[nodiscard]] InterfaceInfo getInterfaceInfo() const noexcept override {
    return {"ILogger", 1, 0};
  }
  virtual void log(Severity severity, const char* text) noexcept { log_line(severity, text); }
};

}  // namespace

struct Logger::Shapes {
  explicit Shapes(Generation generation) : use_plain(has_plain_shapes(generation)) {}
  PlainLogger plain;
  VersionedLogger versioned;
  bool use_plain;
};

Logger::Logger(Generation generation) : shapes_(std::make_unique<Shapes>(generation)) {}
Logger::~Logger() = default;

void* Logger::object() const noexcept {
  return shapes_->use_plain ? static_cast<void*>(&shapes_->plain) : &shapes_->versioned;
}

struct ProgressMonitor::Shape final : Versioned {
  explicit Shape(ProgressFunction function) : function_(std::move(function)) {}

  [[nodiscard]] InterfaceInfo getInterfaceInfo() const noexcept override {
    return {"IProgressMonitor", 1, 0};
  }

  virtual void phaseStart(const char* phase, const char* parent, std::int32_t steps) noexcept {
    try {
      const std::scoped_lock lock(mutex_);
      phases_[phase] = {parent != nullptr ? parent : "", steps};
    } catch (...) {  // NOLINT(bugprone-empty-catch): no memory for the phase: its steps say 0 of 0
    }
    static_cast<void>(report(phase, -1));  // a phase's start cannot cancel: its first step does
  }

  virtual bool stepComplete(const char* phase, std::int32_t step) noexcept {
    return report(phase, step);
  }

  virtual void phaseFinish(const char* phase) noexcept {
    static_cast<void>(report(phase, kFinished));
    try {
      const std::scoped_lock lock(mutex_);
      phases_.erase(phase);
    } catch (...) {  // NOLINT(bugprone-empty-catch): no memory to look it up: it stays
    }
  }

 private:
  static constexpr std::int32_t kFinished = -2;
  struct Phase {
    std::string parent;
    std::int32_t steps = 0;
  };

  bool report(const char* name, std::int32_t step) noexcept {
    try {
      BuildProgress progress{name, {}, step, 0};
      {
        const std::scoped_lock lock(mutex_);
        if (const auto phase = phases_.find(name); phase != phases_.end()) {
          progress.parent = phase->second.parent;
          progress.steps = phase->second.steps;
        }
      }
      if (step == kFinished) progress.step = progress.steps;
      return function_(progress);
    } catch (...) {
      return false;  // an exception must not pass through TensorRT: cancel the build instead
    }
  }

  ProgressFunction function_;
  std::mutex mutex_;
  std::unordered_map<std::string, Phase> phases_;
};

ProgressMonitor::ProgressMonitor(ProgressFunction function)
    : shape_(std::make_unique<Shape>(std::move(function))) {}
ProgressMonitor::~ProgressMonitor() = default;
void* ProgressMonitor::object() const noexcept { return shape_.get(); }

struct Profiler::Shapes {
  struct Plain {
    explicit Plain(const LayerTimeFunction& target) : function(target) {}
    virtual void reportLayerTime(const char* layer, float milliseconds) noexcept {
      report_time(function, layer, milliseconds);
    }
    virtual ~Plain() = default;
    const LayerTimeFunction& function;
  };

  struct Modern final : Versioned {
    explicit Modern(const LayerTimeFunction& target) : function(target) {}
    [[nodiscard]] InterfaceInfo getInterfaceInfo() const noexcept override {
      return {"IProfiler", 1, 0};
    }
    virtual void reportLayerTime(const char* layer, float milliseconds) noexcept {
      report_time(function, layer, milliseconds);
    }
    const LayerTimeFunction& function;
  };

  static void report_time(const LayerTimeFunction& function, const char* layer,
                          float milliseconds) noexcept {
    try {
      function(layer, milliseconds);
    } catch (...) {  // NOLINT(bugprone-empty-catch): no memory for a time; TensorRT is noexcept
    }
  }

  Shapes(Generation generation, LayerTimeFunction target)
      : function(std::move(target)),
        plain(function),
        modern(function),
        use_plain(has_plain_shapes(generation)) {}
  LayerTimeFunction function;
  Plain plain;
  Modern modern;
  bool use_plain;
};

Profiler::Profiler(Generation generation, LayerTimeFunction function)
    : shapes_(std::make_unique<Shapes>(generation, std::move(function))) {}
Profiler::~Profiler() = default;

void* Profiler::object() const noexcept {
  return shapes_->use_plain ? static_cast<void*>(&shapes_->plain) : &shapes_->modern;
}

struct StreamWriter::Shape final : Versioned {
  explicit Shape(WriteFunction function) : function_(std::move(function)) {}

  [[nodiscard]] InterfaceInfo getInterfaceInfo() const noexcept override {
    return {"IStreamWriter", 1, 0};
  }

  virtual std::int64_t write(const void* data, std::int64_t bytes) noexcept {
    constexpr std::int64_t kFailed = -1;  // TensorRT gives up, and fails the build
    if (bytes < 0) return kFailed;
    try {
      const auto size = static_cast<std::size_t>(bytes);
      return function_({static_cast<const std::byte*>(data), size}) ? bytes : kFailed;
    } catch (...) {
      return kFailed;  // an exception must not pass through TensorRT
    }
  }

 private:
  WriteFunction function_;
};

StreamWriter::StreamWriter(WriteFunction function)
    : shape_(std::make_unique<Shape>(std::move(function))) {}
StreamWriter::~StreamWriter() = default;
void* StreamWriter::object() const noexcept { return shape_.get(); }

struct OutputAllocator::Shapes {
  struct Rtx final : Versioned {
    explicit Rtx(OutputSink& target) : sink(target) {}
    [[nodiscard]] InterfaceInfo getInterfaceInfo() const noexcept override {
      return {"IOutputAllocator", 1, 0};
    }
    virtual void* reallocateOutputAsync(const char*, void*, std::uint64_t bytes, std::uint64_t,
                                        void*) noexcept {
      return sink.provide(bytes);
    }
    virtual void notifyShape(const char*, const Dims& dims) noexcept { sink.set_shape(dims); }
    OutputSink& sink;
  };

  struct Trt final : Versioned {
    explicit Trt(OutputSink& target) : sink(target) {}
    [[nodiscard]] InterfaceInfo getInterfaceInfo() const noexcept override {
      return {"IOutputAllocator", 1, 0};
    }
    virtual void* reallocateOutput(const char*, void*, std::uint64_t bytes,
                                   std::uint64_t) noexcept {
      return sink.provide(bytes);
    }
    virtual void* reallocateOutputAsync(const char*, void*, std::uint64_t bytes, std::uint64_t,
                                        void*) noexcept {
      return sink.provide(bytes);
    }
    virtual void notifyShape(const char*, const Dims& dims) noexcept { sink.set_shape(dims); }
    OutputSink& sink;
  };

  Shapes(Generation generation, OutputSink& sink)
      : rtx(sink), trt(sink), use_rtx(is_rtx(generation)) {}
  Rtx rtx;
  Trt trt;
  bool use_rtx;
};

OutputAllocator::OutputAllocator(Generation generation, OutputSink& sink)
    : shapes_(std::make_unique<Shapes>(generation, sink)) {}
OutputAllocator::~OutputAllocator() = default;
OutputAllocator::OutputAllocator(OutputAllocator&&) noexcept = default;
OutputAllocator& OutputAllocator::operator=(OutputAllocator&&) noexcept = default;

void* OutputAllocator::object() const noexcept {
  return shapes_->use_rtx ? static_cast<void*>(&shapes_->rtx) : &shapes_->trt;
}

}  // namespace trtfast::tensorrt
