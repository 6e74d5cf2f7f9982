// The stand-in itself: the rules of activations' memory.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "fake_cuda.h"
#include "rules_test.h"

namespace standin_test {
namespace {

// What the stand-in says of the model's profiles, whose largest inputs have 8 and 9 elements.
constexpr std::size_t kFirstProfile = 2304;
constexpr std::size_t kSecondProfile = 2560;

std::size_t used_memory() {
  std::size_t free = 0;
  std::size_t total = 0;
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  return total - free;
}

class ActivationsOnStandin : public RulesOfStandin {
 protected:
  void load_users_context() {
    load_context();
    context_ = std::make_unique<Object>(library_, create_context(ContextAllocation::kUserManaged));
    ready(*context_);
  }

  /// Gives a context what an enqueue needs beside memory for its activations.
  void ready(const Object& context) const {
    EXPECT_TRUE(set_shape(context, 4));
    EXPECT_TRUE(context.call<VExecutionContext::setTensorAddress>("x", at(0)));
    EXPECT_TRUE(context.call<VExecutionContext::setTensorAddress>("y", at(1024)));
  }

  static bool set_shape(const Object& context, std::int64_t size) {
    const Dims dims{1, {size}};
    return context.call<VExecutionContext::setInputShape, const char*, const Dims&>("x", dims);
  }

  static bool enqueue_on(const Object& context, const Stream& stream) {
    void* handle = stream.get();
    return context.call<VExecutionContext::enqueueV3>(handle);
  }
};
INSTANTIATE_FOR_RELEASES(ActivationsOnStandin);

TEST_P(ActivationsOnStandin, AnEngineTellsTheirSize) {
  load_context();
  const auto& abi = library_->abi();
  ASSERT_TRUE(abi.has<VCudaEngine::getDeviceMemorySizeV2>() ||
              abi.has<VCudaEngine::getDeviceMemorySize>());
  if (abi.has<VCudaEngine::getDeviceMemorySizeV2>()) {
    EXPECT_EQ(engine_->call<VCudaEngine::getDeviceMemorySizeV2>(), kSecondProfile);
  }
  if (abi.has<VCudaEngine::getDeviceMemorySize>()) {
    EXPECT_EQ(engine_->call<VCudaEngine::getDeviceMemorySize>(), kSecondProfile);
  }
}

TEST_P(ActivationsOnStandin, AreAllocatedByStrategy) {
  load_context();
  context_.reset();
  const std::size_t before = used_memory();
  const auto used_by = [&](ContextAllocation strategy) {
    context_ = std::make_unique<Object>(library_, create_context(strategy));
    return used_memory() - before;
  };
  EXPECT_EQ(used_by(ContextAllocation::kStatic), kSecondProfile);
  context_.reset();
  EXPECT_EQ(used_by(ContextAllocation::kUserManaged), 0U);
  context_.reset();
  EXPECT_EQ(used_by(ContextAllocation::kOnProfileChange), kFirstProfile);
  const Stream stream;
  void* handle = stream.get();
  EXPECT_TRUE(context_->call<VExecutionContext::setOptimizationProfileAsync>(1, handle));
  EXPECT_EQ(used_memory() - before, kSecondProfile);
  fake_cuda::fail("allocation", 1);
  const ErrorScope scope;
  EXPECT_FALSE(context_->call<VExecutionContext::setOptimizationProfileAsync>(0, handle));
  EXPECT_THAT(scope.errors(), HasSubstr("OutOfMemory (Requested size was 2304 bytes.)"));
  EXPECT_EQ(recording_->violations(), "");
}

TEST_P(ActivationsOnStandin, ARuntimeConfigurationHasAStrategyToo) {
  if (!library_->abi().has<VRuntimeConfig::setExecutionContextAllocationStrategy>()) {
    GTEST_SKIP() << "this release has no runtime configuration";
  }
  load_context();
  const Object config(library_, engine_->call<VCudaEngine::createRuntimeConfig>());
  config.call<VRuntimeConfig::setExecutionContextAllocationStrategy>(
      ContextAllocation::kUserManaged);
  const std::size_t before = used_memory();
  const Object context(
      library_, engine_->call<VCudaEngine::createExecutionContextWithRuntimeConfig>(config.get()));
  EXPECT_EQ(used_memory(), before);
  ready(context);
  const Stream stream;
  const ErrorScope scope;
  EXPECT_FALSE(enqueue_on(context, stream));
  expect_broken(scope, "no device memory is set");
}

TEST_P(ActivationsOnStandin, TheUsersMemoryMustBeThere) {
  load_users_context();
  const Stream stream;
  const ErrorScope scope;
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "no device memory is set");
  DeviceBuffer memory;
  memory.reserve(kFirstProfile + 128);
  set_activations(*context_, nullptr, 0);
  expect_broken(scope, "the memory is null");
  set_activations(*context_, memory.data() + 128, kFirstProfile);
  expect_broken(scope, "not aligned to 256");
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "no device memory is set");

  set_activations(*context_, memory.data(), kFirstProfile);
  EXPECT_TRUE(enqueue(stream));
  EXPECT_EQ(recording_->violations(), "");
  {
    const DeviceBuffer gone(std::move(memory));
  }
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "the device memory is no live memory");
}

TEST_P(ActivationsOnStandin, TheUsersMemoryMustBeLargeEnough) {
  load_users_context();
  const Stream stream;
  const ErrorScope scope;
  DeviceBuffer small;
  small.reserve(kFirstProfile - 256);
  set_activations(*context_, small.data(), kFirstProfile - 256);
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "has 2048 bytes, fewer than 2304");
  void* handle = stream.get();
  EXPECT_TRUE(context_->call<VExecutionContext::setOptimizationProfileAsync>(1, handle));
  EXPECT_TRUE(set_shape(*context_, 9));
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "has 2048 bytes, fewer than 2560");
  EXPECT_TRUE(context_->call<VExecutionContext::setOptimizationProfileAsync>(0, handle));
  EXPECT_TRUE(set_shape(*context_, 4));
  if (!library_->abi().has<VExecutionContext::setDeviceMemoryV2>()) return;
  set_activations(*context_, small.data(), kFirstProfile);  // which is not true
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "has 2048 bytes, fewer than 2304");
  DeviceBuffer large;
  large.reserve(kFirstProfile);
  set_activations(*context_, large.data(), 1024);
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "has 1024 bytes, fewer than 2304");
  set_activations(*context_, large.data(), -1);
  expect_broken(scope, "its size is negative");
}

TEST_P(ActivationsOnStandin, AContextThatHasMemoryTakesNone) {
  load_context();
  const ErrorScope scope;
  set_activations(*context_, buffer_->data(), 4096);
  expect_broken(scope, "not made for memory that the user manages");
}

TEST_P(ActivationsOnStandin, TwoContextsTakeTurnsWithTheUsersMemory) {
  load_users_context();
  const Object other(library_, create_context(ContextAllocation::kUserManaged));
  ready(other);
  DeviceBuffer memory;
  memory.reserve(2 * kFirstProfile);
  set_activations(*context_, memory.data(), kFirstProfile);
  set_activations(other, memory.data() + 256, kFirstProfile);
  const Stream stream;
  const Stream second;
  const ErrorScope scope;
  fake_cuda::set_late(true);
  EXPECT_TRUE(enqueue(stream));
  EXPECT_FALSE(enqueue_on(other, second));
  expect_broken(scope, "in use by other work, in another stream");
  EXPECT_TRUE(enqueue_on(other, stream)) << "a stream's work is in order";
  stream.synchronize();
  EXPECT_TRUE(enqueue_on(other, second));
  second.synchronize();
  set_activations(other, memory.data() + kFirstProfile, kFirstProfile);
  EXPECT_TRUE(enqueue(stream));
  EXPECT_TRUE(enqueue_on(other, second)) << "this is other memory";
  stream.synchronize();
  second.synchronize();
  EXPECT_EQ(recording_->violations(), "");
}

TEST_P(ActivationsOnStandin, AnEventOrdersTheUsesOfTheUsersMemory) {
  load_users_context();
  const Object other(library_, create_context(ContextAllocation::kUserManaged));
  ready(other);
  DeviceBuffer memory;
  memory.reserve(kFirstProfile);
  set_activations(*context_, memory.data(), kFirstProfile);
  set_activations(other, memory.data(), kFirstProfile);
  const Stream stream;
  const Stream between;
  const Stream second;
  const Event early;
  const Event late;
  const ErrorScope scope;
  fake_cuda::set_late(true);
  early.record(stream.get());
  EXPECT_TRUE(enqueue(stream));
  early.hold(second.get());
  EXPECT_FALSE(enqueue_on(other, second)) << "it waits for what came before that use";
  expect_broken(scope, "in use by other work, in another stream");
  late.record(stream.get());
  late.hold(between.get());
  EXPECT_FALSE(enqueue_on(other, second));
  expect_broken(scope, "in use by other work, in another stream");
  early.record(between.get());
  early.hold(second.get());
  EXPECT_TRUE(enqueue_on(other, second)) << "through a stream between the two";
  EXPECT_FALSE(enqueue(stream)) << "the other way round nothing waits";
  expect_broken(scope, "in use by other work, in another stream");
  second.synchronize();
  EXPECT_EQ(recording_->violations(), "");
}

}  // namespace
}  // namespace standin_test
