// The objects that TensorRT calls back. Their vtables differ between generations, so each that
// differs exists in two shapes; a base class's order of declaration is the order of its slots.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "tensorrt/abi.h"
#include "tensorrt/types.h"

namespace trtfast::tensorrt {

/// The logger of one loaded library: all lines go to LogQueue, errors to ErrorScope too.
class Logger {
 public:
  explicit Logger(Generation generation);
  ~Logger();
  Logger(const Logger&) = delete;  // TensorRT keeps its address
  Logger& operator=(const Logger&) = delete;

  /// The object in the generation's shape, for TensorRT.
  [[nodiscard]] void* object() const noexcept;

 private:
  struct Shapes;
  std::unique_ptr<Shapes> shapes_;
};

/// A step of a build: a phase starts (step -1), reaches a step, or ends (step == steps).
struct BuildProgress {
  std::string phase;
  std::string parent;  // empty for the outermost phase
  int step;
  int steps;
};

/// Gets each step of a build, from several threads; returns false to cancel the build.
using ProgressFunction = std::function<bool(const BuildProgress&)>;

class ProgressMonitor {
 public:
  explicit ProgressMonitor(ProgressFunction function);
  ~ProgressMonitor();
  ProgressMonitor(const ProgressMonitor&) = delete;  // TensorRT keeps its address
  ProgressMonitor& operator=(const ProgressMonitor&) = delete;

  [[nodiscard]] void* object() const noexcept;

 private:
  struct Shape;
  std::unique_ptr<Shape> shape_;
};

/// Gets the time of each layer of a run, in milliseconds.
using LayerTimeFunction = std::function<void(const char* layer, float milliseconds)>;

class Profiler {
 public:
  Profiler(Generation generation, LayerTimeFunction function);
  ~Profiler();
  Profiler(const Profiler&) = delete;  // TensorRT keeps its address
  Profiler& operator=(const Profiler&) = delete;

  /// The object in the generation's shape, for TensorRT.
  [[nodiscard]] void* object() const noexcept;

 private:
  struct Shapes;
  std::unique_ptr<Shapes> shapes_;
};

/// Takes the next bytes of a stream; returns false where it cannot.
using WriteFunction = std::function<bool(std::span<const std::byte>)>;

class StreamWriter {
 public:
  explicit StreamWriter(WriteFunction function);
  ~StreamWriter();
  StreamWriter(const StreamWriter&) = delete;  // TensorRT keeps its address
  StreamWriter& operator=(const StreamWriter&) = delete;

  [[nodiscard]] void* object() const noexcept;

 private:
  struct Shape;
  std::unique_ptr<Shape> shape_;
};

/// Gives memory for an output whose shape TensorRT finds only while it runs.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  /// Device memory of at least `bytes` (which may be 0), or nullptr where there is none.
  virtual void* provide(std::size_t bytes) noexcept = 0;
  virtual void set_shape(const Dims& dims) noexcept = 0;
};

class OutputAllocator {
 public:
  OutputAllocator(Generation generation, OutputSink& sink);
  ~OutputAllocator();
  OutputAllocator(OutputAllocator&&) noexcept;
  OutputAllocator& operator=(OutputAllocator&&) noexcept;

  [[nodiscard]] void* object() const noexcept;

 private:
  struct Shapes;
  std::unique_ptr<Shapes> shapes_;
};

}  // namespace trtfast::tensorrt
