// The stand-in itself: each of TensorRT's rules, broken on purpose, is noticed, logged, and fails
// the call. Without this, tests that find no rule broken would show nothing.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "fake_cuda.h"
#include "rules_test.h"

namespace standin_test {
namespace {

using trtfast::tensorrt::OutputAllocator;

INSTANTIATE_FOR_RELEASES(RulesOfStandin);

TEST_P(RulesOfStandin, ShapesAndAddressesComeBeforeAnEnqueue) {
  load_context();
  const Stream stream;
  const ErrorScope scope;
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "the shape of x is not set");
  EXPECT_TRUE(set_shape("x", 4));
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "no address is set for x");
  EXPECT_TRUE(set_address("x", buffer_->data()));
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "no address is set for y");
  EXPECT_TRUE(set_address("y", buffer_->data() + 1024));
  EXPECT_TRUE(enqueue(stream));
  EXPECT_EQ(recording_->violations(), "");
}

TEST_P(RulesOfStandin, Addresses) {
  load_context();
  const Stream stream;
  const ErrorScope scope;
  EXPECT_FALSE(set_address("x", nullptr));
  expect_broken(scope, "the address is null");
  EXPECT_FALSE(set_address("x", buffer_->data() + 128));
  expect_broken(scope, "not aligned to 256");
  EXPECT_FALSE(set_address("z", buffer_->data()));
  expect_broken(scope, "no tensor 'z'");

  EXPECT_TRUE(set_shape("x", 8));
  DeviceBuffer small;
  small.reserve(16);
  EXPECT_TRUE(set_address("x", small.data()));
  EXPECT_TRUE(set_address("y", buffer_->data()));
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "has 16 bytes, fewer than 32");
  small.reserve(256);
  EXPECT_TRUE(set_address("x", small.data()));
  {
    const DeviceBuffer gone(std::move(small));
  }
  EXPECT_FALSE(enqueue(stream));
  expect_broken(scope, "no live memory");
}

TEST_P(RulesOfStandin, ShapesAndProfiles) {
  load_context();
  const Stream stream;
  void* handle = stream.get();
  const ErrorScope scope;
  EXPECT_FALSE(set_shape("x", 9));
  expect_broken(scope, "outside profile 0");
  EXPECT_FALSE(set_shape("y", 4));
  expect_broken(scope, "no input");
  EXPECT_FALSE(context_->call<VExecutionContext::setOptimizationProfileAsync>(2, handle));
  expect_broken(scope, "has 2 profiles");
  EXPECT_TRUE(set_shape("x", 4));
  EXPECT_TRUE(context_->call<VExecutionContext::setOptimizationProfileAsync>(1, handle));
  EXPECT_FALSE(enqueue(stream)) << "a change of profile forgets the shapes";
  expect_broken(scope, "the shape of x is not set");
}

TEST_P(RulesOfStandin, AValueThatDecidesShapesIsNotOverwritten) {
  const auto plan = build("input n int64 1 shape\noutput f float32 -1\nop fill f = fill n\n",
                          {profile("n", {1}, {2}, {9})});
  runtime_ = std::make_unique<Object>(library_, library_->create_runtime());
  const void* data = plan.data();
  engine_ = std::make_unique<Object>(
      library_, runtime_->call<VRuntime::deserializeCudaEngine>(data, plan.size()));
  context_ = std::make_unique<Object>(library_, create_context());
  trtfast::cuda::PinnedBuffer memory;
  memory.reserve(512);
  auto* const value = reinterpret_cast<std::int64_t*>(memory.data());
  const auto infer = [&] {
    return context_->call<VExecutionContext::inferShapes>(0, static_cast<const char**>(nullptr));
  };
  const ErrorScope scope;
  *value = 4;
  EXPECT_TRUE(set_address("n", value));
  EXPECT_EQ(infer(), 0);
  *value = 5;
  EXPECT_EQ(infer(), -1);
  expect_broken(scope, "overwritten at the same address");
  EXPECT_TRUE(set_address("n", memory.data() + 256));
  EXPECT_TRUE(set_address("n", value));
  EXPECT_EQ(infer(), 0);
}

TEST_P(RulesOfStandin, PendingWork) {
  load_context();
  fake_cuda::set_late(true);
  const Stream stream;
  const Stream other;
  void* handle = stream.get();
  const ErrorScope scope;
  EXPECT_TRUE(set_shape("x", 4));
  EXPECT_TRUE(set_address("x", buffer_->data()));
  EXPECT_TRUE(set_address("y", buffer_->data() + 1024));
  EXPECT_TRUE(enqueue(stream));
  EXPECT_FALSE(context_->call<VExecutionContext::setOptimizationProfileAsync>(1, handle));
  expect_broken(scope, "still under way");
  EXPECT_FALSE(enqueue(other));
  expect_broken(scope, "under way in another stream");
  context_.reset();
  EXPECT_THAT(recording_->violations(), HasSubstr("its work is still under way"));
}

TEST_P(RulesOfStandin, OneThreadInAContext) {
  load_context("input x float32 -1\noutput p float32 -1\nop keep p = positive x\n");
  // The allocator is called back inside the enqueue: there, another call is one too many.
  struct Sink final : trtfast::tensorrt::OutputSink {
    Sink(std::function<void()> other_call, void* memory)
        : call(std::move(other_call)), output(memory) {}
    void* provide(std::size_t) noexcept override {
      std::thread(call).join();
      return output;
    }
    void set_shape(const Dims&) noexcept override {}
    std::function<void()> call;
    void* output;
  } sink([this] { EXPECT_FALSE(set_shape("x", 3)); }, buffer_->data() + 1024);
  const OutputAllocator allocator(library_->abi().generation(), sink);
  const Stream stream;
  EXPECT_TRUE(set_shape("x", 4));
  EXPECT_TRUE(set_address("x", buffer_->data()));
  const std::vector<float> ones(4, 1);
  ASSERT_EQ(cudaMemcpyAsync(buffer_->data(), ones.data(), 16, cudaMemcpyHostToDevice, stream.get()),
            cudaSuccess);
  EXPECT_FALSE(enqueue(stream));
  EXPECT_THAT(recording_->violations(), HasSubstr("has no allocator"));
  recording_->forget();
  const bool set = context_->call<VExecutionContext::setOutputAllocator>("p", allocator.object());
  EXPECT_TRUE(set);
  EXPECT_TRUE(enqueue(stream));
  EXPECT_THAT(recording_->violations(), HasSubstr("another call is under way"));
}

TEST_P(RulesOfStandin, DeletedAndForeignObjects) {
  load_context();
  void* implementation = trtfast::tensorrt::implementation_of(context_->get());
  void* stale = context_->get();
  context_.reset();
  const ErrorScope scope;
  const auto& abi = library_->abi();
  EXPECT_EQ(abi.call<VExecutionContext::inferShapes>(implementation, 0,
                                                     static_cast<const char**>(nullptr)),
            -1);
  expect_broken(scope, "the object was deleted");
  trtfast::tensorrt::delete_object(stale);
  expect_broken(scope, "the object was deleted");
}

TEST_P(RulesOfStandin, ChildrenGoFirst) {
  load_context();
  const ErrorScope scope;
  runtime_.reset();
  expect_broken(scope, "made from it, are alive: ICudaEngine");
  engine_.reset();
  expect_broken(scope, "made from it, are alive: IExecutionContext");
}

TEST_P(RulesOfStandin, BuildersOutliveNetworks) {
  const ErrorScope scope;
  auto builder = std::make_unique<Object>(library_, library_->create_builder());
  auto network = std::make_unique<Object>(
      library_, builder->call<VBuilder::createNetworkV2>(library_->abi().strongly_typed_flags()));
  EXPECT_EQ(builder->call<VBuilder::createNetworkV2>(4U), nullptr);
  expect_broken(scope, "strongly typed");
  const Object config(library_, builder->call<VBuilder::createBuilderConfig>());
  {
    const trtfast::tensorrt::Parser parser(*network);
    parser.parse(bytes_of(kModel), "");
  }
  const Object other(library_, library_->create_builder());
  EXPECT_EQ(other.call<VBuilder::buildSerializedNetwork>(network->get(), config.get()), nullptr);
  expect_broken(scope, "not a live one of this builder");
  EXPECT_EQ(builder->call<VBuilder::buildSerializedNetwork>(network->get(), config.get()), nullptr);
  expect_broken(scope, "the parser, which holds the weights, was deleted");
  builder.reset();
  EXPECT_THAT(recording_->violations(), HasSubstr("INetworkDefinition"));
  EXPECT_THAT(recording_->violations(), HasSubstr("IBuilderConfig"));
  network.reset();
}

TEST_P(RulesOfStandin, NetworksOutliveParsers) {
  const Object builder(library_, library_->create_builder());
  auto network = std::make_unique<Object>(
      library_, builder.call<VBuilder::createNetworkV2>(library_->abi().strongly_typed_flags()));
  const trtfast::tensorrt::Parser parser(*network);
  network.reset();
  EXPECT_THAT(recording_->violations(), HasSubstr("are alive: IParser"));
}

TEST_P(RulesOfStandin, APlanIsWrittenToAStreamWriter) {
  if (!library_->abi().has(trtfast::tensorrt::Capability::kStreamedPlan)) return;
  const Object builder(library_, library_->create_builder());
  const Object network(
      library_, builder.call<VBuilder::createNetworkV2>(library_->abi().strongly_typed_flags()));
  const trtfast::tensorrt::Parser parser(network);
  parser.parse(bytes_of(kModel), "");
  const Object config(library_, builder.call<VBuilder::createBuilderConfig>());
  const ErrorScope scope;
  const trtfast::tensorrt::ProgressMonitor other([](const auto&) { return true; });
  for (void* writer : {static_cast<void*>(nullptr), other.object()}) {
    EXPECT_FALSE(builder.call<VBuilder::buildSerializedNetworkToStream>(network.get(), config.get(),
                                                                        writer));
    expect_broken(scope, "this is no IStreamWriter");
  }
}

TEST_P(RulesOfStandin, TheGpuOfAnEngineIsTheCurrentOne) {
  load_context();
  const ErrorScope scope;
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(create_context(), nullptr);
  expect_broken(scope, "GPU is not the current one");
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
}

}  // namespace
}  // namespace standin_test
