// The stand-in itself: the rules of enqueues that are captured into a graph.
#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fake_cuda.h"
#include "rules_test.h"

namespace standin_test {
namespace {

using trtfast::tensorrt::KernelSpecialization;
using trtfast::tensorrt::OutputAllocator;

class CapturesOnStandin : public RulesOfStandin {
 protected:
  void SetUp() override {
    RulesOfStandin::SetUp();
    stream_ = std::make_unique<Stream>();
  }

  void TearDown() override {
    if (exec_ != nullptr) {
      EXPECT_EQ(cudaGraphExecDestroy(exec_), cudaSuccess);
    }
    stream_.reset();
    RulesOfStandin::TearDown();
  }

  /// A context whose kernels are those that it will keep, ready to run but for its activations.
  void load_capturable(const char* model = kModel,
                       ContextAllocation strategy = ContextAllocation::kStatic) {
    load_context(model);
    context_ = std::make_unique<Object>(library_, create_eager_context(strategy));
    EXPECT_TRUE(set_shape("x", 4));
    EXPECT_TRUE(set_address("x", at(0)));
    if (std::string(model) == kModel) {
      EXPECT_TRUE(set_address("y", at(1024)));
    }
  }

  [[nodiscard]] void* create_eager_context(ContextAllocation strategy) const {
    using Specialize = VRuntimeConfig::setDynamicShapesKernelSpecializationStrategy;
    if (!library_->abi().has<Specialize>()) return create_context(strategy);
    const Object config(library_, engine_->call<VCudaEngine::createRuntimeConfig>());
    config.call<Specialize>(KernelSpecialization::kEager);
    config.call<VRuntimeConfig::setExecutionContextAllocationStrategy>(strategy);
    return engine_->call<VCudaEngine::createExecutionContextWithRuntimeConfig>(config.get());
  }

  /// Captures an enqueue, and ends the capture; whether TensorRT enqueued, and what CUDA said.
  std::pair<bool, cudaError_t> capture() {
    EXPECT_EQ(cudaStreamBeginCapture(stream_->get(), cudaStreamCaptureModeThreadLocal),
              cudaSuccess);
    const bool enqueued = enqueue(*stream_);
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream_->get(), &graph);
    static_cast<void>(cudaGetLastError());
    if (ended != cudaSuccess) return {enqueued, ended};
    EXPECT_EQ(cudaGraphInstantiate(&exec_, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    return {enqueued, ended};
  }

  /// Runs once, and captures what must be good.
  void warm_up_and_capture() {
    EXPECT_TRUE(enqueue(*stream_));
    EXPECT_EQ(capture(), std::pair(true, cudaSuccess));
    EXPECT_EQ(recording_->violations(), "");
  }

  /// Captures what breaks a rule.
  void expect_refused(const ErrorScope& scope, const std::string& rule) {
    EXPECT_FALSE(capture().first);
    expect_broken(scope, rule);
    if (exec_ != nullptr) {
      EXPECT_EQ(cudaGraphExecDestroy(std::exchange(exec_, nullptr)), cudaSuccess);
    }
  }

  void launch() const {
    EXPECT_EQ(cudaGraphLaunch(exec_, stream_->get()), cudaSuccess);
    stream_->synchronize();
  }

  void expect_gone(const std::string& what) const {
    EXPECT_EQ(recording_->violations(), "");
    launch();
    EXPECT_EQ(recording_->violations(),
              "IExecutionContext::enqueueV3: " + what + " was gone when its work ran");
  }

  void write(const std::vector<float>& values) const {
    EXPECT_EQ(cudaMemcpyAsync(at(0), values.data(), values.size() * sizeof(float),
                              cudaMemcpyHostToDevice, stream_->get()),
              cudaSuccess);
  }

  [[nodiscard]] std::vector<float> read(std::size_t count) const {
    std::vector<float> values(count);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), at(1024), count * sizeof(float),
                              cudaMemcpyDeviceToHost, stream_->get()),
              cudaSuccess);
    return values;
  }

  std::unique_ptr<Stream> stream_;
  cudaGraphExec_t exec_ = nullptr;
};
INSTANTIATE_FOR_RELEASES(CapturesOnStandin);

TEST_P(CapturesOnStandin, AGraphComputesFromWhatItsInputsHoldThen) {
  load_capturable();
  write({1, 2, 3, 4});
  warm_up_and_capture();
  for (const bool late : {false, true}) {
    fake_cuda::set_late(late);
    write({5, 6, 7, 8});
    launch();
    EXPECT_EQ(read(4), (Values{11, 13, 15, 17}));
    write({0, 0, 0, 1});
    launch();
    EXPECT_EQ(read(4), (Values{1, 1, 1, 3}));
  }
  // The graph keeps the shapes of its capture.
  EXPECT_TRUE(set_shape("x", 2));
  EXPECT_TRUE(enqueue(*stream_));
  launch();
  EXPECT_EQ(read(4), (Values{1, 1, 1, 3}));
  EXPECT_EQ(recording_->violations(), "");
}

TEST_P(CapturesOnStandin, AContextRunsBeforeItIsCaptured) {
  load_capturable();
  const ErrorScope scope;
  const std::string rule = "not run before with these shapes, addresses and device memory";
  expect_refused(scope, rule);
  EXPECT_TRUE(enqueue(*stream_));
  EXPECT_TRUE(set_shape("x", 5));
  expect_refused(scope, rule);
  EXPECT_TRUE(enqueue(*stream_));
  EXPECT_TRUE(set_address("y", at(2048)));
  expect_refused(scope, rule);
  warm_up_and_capture();
}

TEST_P(CapturesOnStandin, AnOutputThatDependsOnDataCannotBeCaptured) {
  load_capturable("input x float32 -1\noutput p float32 -1\nop keep p = positive x\n");
  struct Sink final : trtfast::tensorrt::OutputSink {
    explicit Sink(void* memory) : output(memory) {}
    void* provide(std::size_t) noexcept override { return output; }
    void set_shape(const Dims&) noexcept override {}
    void* output;
  } sink(at(1024));
  const OutputAllocator allocator(library_->abi().generation(), sink);
  EXPECT_TRUE(context_->call<VExecutionContext::setOutputAllocator>("p", allocator.object()));
  write({1, -2, 3, -4});
  EXPECT_TRUE(enqueue(*stream_));
  const ErrorScope scope;
  EXPECT_EQ(capture(), std::pair(false, cudaErrorStreamCaptureInvalidated));
  EXPECT_THAT(scope.errors(), HasSubstr("not permitted when stream is capturing"));
  EXPECT_EQ(recording_->violations(), "");
  EXPECT_TRUE(enqueue(*stream_)) << "the stream is as before";
}

TEST_P(CapturesOnStandin, NothingElseRunsMeanwhile) {
  load_capturable();
  set_address("y", at(1024));
  EXPECT_TRUE(enqueue(*stream_));
  // Runs in the middle of another context's enqueue, which asks for memory.
  struct Sink final : trtfast::tensorrt::OutputSink {
    void* provide(std::size_t) noexcept override {
      capture();
      return memory;
    }
    void set_shape(const Dims&) noexcept override {}
    std::function<void()> capture;
    void* memory = nullptr;
  } sink;
  bool captured = false;
  sink.capture = [&] { captured = capture().first; };
  sink.memory = at(2048);
  const OutputAllocator allocator(library_->abi().generation(), sink);
  const Object other(library_, create_eager_context(ContextAllocation::kStatic));
  const Dims dims{1, {4}};
  EXPECT_TRUE((other.call<VExecutionContext::setInputShape, const char*, const Dims&>("x", dims)));
  EXPECT_TRUE(other.call<VExecutionContext::setTensorAddress>("x", at(0)));
  EXPECT_TRUE(other.call<VExecutionContext::setOutputAllocator>("y", allocator.object()));
  const Stream stream;
  const ErrorScope scope;
  EXPECT_TRUE(other.call<VExecutionContext::enqueueV3>(static_cast<void*>(stream.get())));
  EXPECT_EQ(captured, !is_rtx());
  if (is_rtx()) expect_broken(scope, "a context runs while another one is captured");
}

TEST_P(CapturesOnStandin, LazyKernelsAreNotToBeFrozen) {
  load_capturable();
  context_ = std::make_unique<Object>(library_, create_context());
  EXPECT_TRUE(set_shape("x", 4));
  EXPECT_TRUE(set_address("x", at(0)));
  EXPECT_TRUE(set_address("y", at(1024)));
  if (!is_rtx()) {  // TensorRT has no kernels that come later
    warm_up_and_capture();
    return;
  }
  EXPECT_TRUE(enqueue(*stream_));
  const ErrorScope scope;
  expect_refused(scope, "the kernels would be frozen before they are specialized");
}

TEST_P(CapturesOnStandin, AContextIsNotMadeInACapture) {
  load_context();
  const ErrorScope scope;
  EXPECT_EQ(cudaStreamBeginCapture(stream_->get(), cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(create_context(), nullptr);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_->get(), &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
  EXPECT_THAT(scope.errors(), HasSubstr("OutOfMemory"));
}

TEST_P(CapturesOnStandin, AGraphNeedsTheMemoryOfItsTensors) {
  load_capturable();
  DeviceBuffer output;
  output.reserve(256);
  EXPECT_TRUE(set_address("y", output.data()));
  warm_up_and_capture();
  {
    const DeviceBuffer gone(std::move(output));
  }
  expect_gone("the memory of y");
}

TEST_P(CapturesOnStandin, AGraphNeedsItsContext) {
  load_capturable();
  warm_up_and_capture();
  context_.reset();
  expect_gone("the context");
}

TEST_P(CapturesOnStandin, AGraphNeedsTheActivationsOfItsCapture) {
  load_capturable(kModel, ContextAllocation::kUserManaged);
  constexpr std::size_t kSize = 2304;
  DeviceBuffer first;
  first.reserve(kSize);
  set_activations(*context_, first.data(), kSize);
  warm_up_and_capture();
  DeviceBuffer second;
  second.reserve(kSize);
  set_activations(*context_, second.data(), kSize);
  const ErrorScope scope;
  launch();
  EXPECT_EQ(recording_->violations(), "") << "what the graph uses is still there";
  {
    const DeviceBuffer gone(std::move(first));
  }
  expect_gone("the device memory of the context");
  recording_->forget();
  EXPECT_EQ(cudaGraphExecDestroy(std::exchange(exec_, nullptr)), cudaSuccess);
  expect_refused(scope, "not run before with these shapes, addresses and device memory");
}

TEST_P(CapturesOnStandin, LaunchesTakeTurnsWithTheActivationsToo) {
  load_capturable(kModel, ContextAllocation::kUserManaged);
  constexpr std::size_t kSize = 2304;
  DeviceBuffer memory;
  memory.reserve(kSize);
  set_activations(*context_, memory.data(), kSize);
  warm_up_and_capture();
  const auto captured = std::exchange(
      context_,
      std::make_unique<Object>(library_, create_eager_context(ContextAllocation::kUserManaged)));
  set_activations(*context_, memory.data(), kSize);
  EXPECT_TRUE(set_shape("x", 4));
  EXPECT_TRUE(set_address("x", at(0)));
  EXPECT_TRUE(set_address("y", at(2048)));
  const Stream second;
  const Event done;
  const ErrorScope scope;
  fake_cuda::set_late(true);
  EXPECT_TRUE(enqueue(second));
  EXPECT_EQ(cudaGraphLaunch(exec_, stream_->get()), cudaSuccess);
  EXPECT_THAT(recording_->violations(), HasSubstr("a graph's launch: the device memory is in use"));
  recording_->forget();
  done.record(second.get());
  done.hold(stream_->get());
  EXPECT_EQ(cudaGraphLaunch(exec_, stream_->get()), cudaSuccess);
  EXPECT_EQ(recording_->violations(), "");
  EXPECT_FALSE(enqueue(second)) << "the launch is under way";
  expect_broken(scope, "in use by other work, in another stream");
  stream_->synchronize();
}

}  // namespace
}  // namespace standin_test
