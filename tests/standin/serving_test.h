// What the tests of serving share: memory on the device and page-locked, and runs that are held
// back.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cuda/event.h"
#include "cuda/memory.h"
#include "cuda/stream.h"
#include "fake_cuda.h"
#include "fixture.h"

namespace standin_test {

using testing::ElementsAre;
using testing::HasSubstr;
using trtfast::InputError;
using trtfast::Memory;
using trtfast::OutputView;
using trtfast::Request;
using trtfast::Shape;
using trtfast::TensorView;

inline constexpr const char* kTwice =
    "input x float32 -1,2\n"
    "output y float32 -1,2\n"
    "op twice y = affine 2 1 x\n";

inline constexpr const char* kPositive =
    "input x float32 -1\n"
    "output p float32 -1\n"
    "op keep p = positive x\n";

/// More bytes than a graph copies by itself, and than are worth to be looked at twice.
inline constexpr std::size_t kManyRows = 20'000;

/// Rows of kTwice's input, none of which is like another, nor like those of another seed.
inline Values rows(std::size_t count, std::size_t seed = 0) {
  Values values(count * 2);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((seed * 64) + i);
  return values;
}

/// What kTwice makes of them.
inline Values twice(Values values) {
  for (auto& value : values) value = (2 * value) + 1;
  return values;
}

inline Shape rows_shape(const Values& values) {
  return {static_cast<std::int64_t>(values.size() / 2), 2};
}

/// Floats in memory of CUDA's.
template <trtfast::cuda::Space space>
class CudaValues {
 public:
  explicit CudaValues(const Values& values, std::size_t offset = 0)
      : count_(values.size()), offset_(offset) {
    buffer_.reserve(offset + 256 + (count_ * sizeof(float)));
    set(values);
  }

  [[nodiscard]] std::byte* data() const { return buffer_.data() + offset_; }

  /// At once, whatever the device does: the fake's memory is the host's.
  void set(const Values& values) {
    if (!values.empty()) std::memcpy(data(), values.data(), values.size() * sizeof(float));
  }
  [[nodiscard]] Values values() const {
    Values values(count_);
    if (!values.empty()) std::memcpy(values.data(), data(), values.size() * sizeof(float));
    return values;
  }

  [[nodiscard]] TensorView view(const Shape& shape) const {
    return {data(), shape, trtfast::DataType::kFloat, memory()};
  }
  [[nodiscard]] OutputView output(const Shape& shape) const { return {data(), shape, memory()}; }

 private:
  // That host memory is page-locked is for the core to find out.
  [[nodiscard]] static constexpr Memory memory() {
    return space == trtfast::cuda::Space::kDevice ? Memory::kDevice : Memory::kPageable;
  }

  trtfast::cuda::Buffer<space> buffer_;
  std::size_t count_;
  std::size_t offset_;
};

using DeviceValues = CudaValues<trtfast::cuda::Space::kDevice>;
using PinnedValues = CudaValues<trtfast::cuda::Space::kPinned>;

/// Floats of an output that is on the device.
inline Values on_device(const trtfast::Tensor& tensor) {
  Values values(tensor.device.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), tensor.device.data(), tensor.device.size());
  return values;
}

/// Holds back the runs whose inputs are ready with it, and so keeps their lanes busy. The fake's
/// work has to be late.
class Gate {
 public:
  Gate() {
    EXPECT_EQ(cudaLaunchHostFunc(
                  stream_.get(), [](void* gate) { static_cast<Gate*>(gate)->hold_back(); }, this),
              cudaSuccess);
    event_.record(stream_.get());
  }
  ~Gate() {
    open();
    stream_.synchronize();
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  [[nodiscard]] const trtfast::cuda::Event* event() const { return &event_; }

  /// Returns once a run is held back.
  void wait() { reached_.get_future().wait(); }

  void open() {
    if (!std::exchange(open_, true)) opened_.set_value();
  }

 private:
  void hold_back() {
    reached_.set_value();
    opened_.get_future().wait();
  }

  trtfast::cuda::Stream stream_;
  trtfast::cuda::Event event_;
  std::promise<void> reached_;
  std::promise<void> opened_;
  bool open_ = false;
};

class ServingTest : public StandinTest {
 protected:
  /// kTwice, for up to 200 rows.
  [[nodiscard]] std::unique_ptr<trtfast::Engine> load_twice(const trtfast::EngineOptions& options) {
    return load(build(kTwice, {profile("x", {1, 2}, {2, 2}, {200, 2})}), options);
  }
  [[nodiscard]] std::unique_ptr<trtfast::Engine> load_twice(int lanes = 1) {
    trtfast::EngineOptions options;
    options.lanes = lanes;
    return load_twice(options);
  }

  /// kTwice, for up to kManyRows.
  [[nodiscard]] std::unique_ptr<trtfast::Engine> load_large() {
    return load(build(kTwice, {profile("x", {1, 2}, {2, 2}, {kManyRows, 2})}), 1);
  }

  /// With work done at once, and with work that waits for its stream's synchronisation.
  template <class Body>
  void at_once_and_late(const Body& body) {
    for (const bool late : {false, true}) {
      fake_cuda::set_late(late);
      SCOPED_TRACE(late ? "late" : "at once");
      body();
    }
  }

  /// How often a function of CUDA is called meanwhile.
  template <class Body>
  [[nodiscard]] static int calls_of(const std::string& function, const Body& body) {
    const int before = fake_cuda::count(function);
    body();
    return fake_cuda::count(function) - before;
  }
};

/// Whether an engine of kTwice is right about some rows.
[[nodiscard]] inline bool is_right(trtfast::Engine& engine, const Values& input) {
  return run(engine, input, rows_shape(input)) == twice(input);
}

}  // namespace standin_test
