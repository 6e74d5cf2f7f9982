// What the tests of the stand-in's own rules share: its objects, called without the core.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "cuda/event.h"
#include "cuda/memory.h"
#include "cuda/stream.h"
#include "fake_cuda.h"
#include "fixture.h"
#include "tensorrt/api.h"

namespace standin_test {

using testing::HasSubstr;
using namespace trtfast::tensorrt::method;  // NOLINT(google-build-using-namespace): names
using trtfast::cuda::DeviceBuffer;
using trtfast::cuda::Event;
using trtfast::cuda::Stream;
using trtfast::tensorrt::ContextAllocation;
using trtfast::tensorrt::Dims;
using trtfast::tensorrt::ErrorScope;
using trtfast::tensorrt::Object;

inline constexpr const char* kModel =
    "input x float32 -1\n"
    "output y float32 -1\n"
    "op twice y = affine 2 1 x\n";

class RulesOfStandin : public StandinTest {
 protected:
  void TearDown() override {
    context_.reset();
    engine_.reset();
    runtime_.reset();
    buffer_.reset();
    recording_->forget();
    fake_cuda::set_late(false);
    StandinTest::TearDown();
  }

  void load_context(const char* model = kModel) {
    const auto plan = build(model, {profile("x", {1}, {4}, {8}), profile("x", {9}, {9}, {9})});
    runtime_ = std::make_unique<Object>(library_, library_->create_runtime());
    const void* data = plan.data();
    engine_ = std::make_unique<Object>(
        library_, runtime_->call<VRuntime::deserializeCudaEngine>(data, plan.size()));
    context_ = std::make_unique<Object>(library_, create_context());
    buffer_ = std::make_unique<DeviceBuffer>();
    buffer_->reserve(4096);
  }

  [[nodiscard]] void* create_context(
      ContextAllocation strategy = ContextAllocation::kStatic) const {
    return engine_->call<VCudaEngine::createExecutionContext>(strategy);
  }

  /// An address in the memory for tensors.
  [[nodiscard]] void* at(std::size_t offset) const { return buffer_->data() + offset; }

  /// The newest way of the release to give a context memory.
  void set_activations(const Object& context, void* memory, std::int64_t size) const {
    if (library_->abi().has<VExecutionContext::setDeviceMemoryV2>()) {
      context.call<VExecutionContext::setDeviceMemoryV2>(memory, size);
    } else {
      context.call<VExecutionContext::setDeviceMemory>(memory);
    }
  }

  bool set_shape(const char* name, std::int64_t size) const {
    const Dims dims{1, {size}};
    return context_->call<VExecutionContext::setInputShape, const char*, const Dims&>(name, dims);
  }

  bool set_address(const char* name, void* address) const {
    return context_->call<VExecutionContext::setTensorAddress>(name, address);
  }

  [[nodiscard]] bool enqueue(const Stream& stream) const {
    void* handle = stream.get();
    return context_->call<VExecutionContext::enqueueV3>(handle);
  }

  /// The rule was noticed, and the logger that the library was given heard of it.
  void expect_broken(const ErrorScope& scope, const std::string& rule) const {
    EXPECT_THAT(recording_->violations(), HasSubstr(rule));
    EXPECT_THAT(scope.errors(), HasSubstr(rule));
    recording_->forget();
  }

  std::unique_ptr<Object> runtime_;
  std::unique_ptr<Object> engine_;
  std::unique_ptr<Object> context_;
  std::unique_ptr<DeviceBuffer> buffer_;
};

}  // namespace standin_test
