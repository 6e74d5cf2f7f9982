// Runs on a caller's stream, and runs that wait for what other streams do.
#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "cuda/junction.h"
#include "serving_test.h"

namespace standin_test {
namespace {

using trtfast::cuda::Event;
using trtfast::cuda::Junction;
using trtfast::cuda::Stream;

class StreamsOnStandin : public ServingTest {
 protected:
  void SetUp() override {
    ServingTest::SetUp();
    fake_cuda::set_late(true);
  }

  static void infer_on(trtfast::Engine& engine, cudaStream_t stream, const DeviceValues& input,
                       const DeviceValues& output, std::int64_t count) {
    const auto outputs = engine.infer({.inputs = {input.view({count, 2})},
                                       .outputs = {output.output({count, 2})},
                                       .stream = stream});
    EXPECT_EQ(outputs[0].shape, (Shape{count, 2}));
  }
};
INSTANTIATE_FOR_RELEASES(StreamsOnStandin);

TEST_P(StreamsOnStandin, ACallersStreamIsNotWaitedFor) {
  const auto engine = load_twice();
  const DeviceValues input(rows(3));
  const DeviceValues output(Values(6));
  const Stream stream;
  const int waits =
      calls_of("cudaStreamSynchronize", [&] { infer_on(*engine, stream.get(), input, output, 3); });
  EXPECT_EQ(waits, 0);
  EXPECT_EQ(output.values(), Values(6)) << "it has not run yet";
  stream.synchronize();
  EXPECT_EQ(output.values(), twice(rows(3)));
}

TEST_P(StreamsOnStandin, TheDefaultStreamIsOneToo) {
  const auto engine = load_twice();
  DeviceValues input(Values(6));
  const DeviceValues output(Values(6));
  for (std::size_t turn = 0; turn < 4; ++turn) {
    input.set(rows(3, turn));
    infer_on(*engine, nullptr, input, output, 3);
    EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
    EXPECT_EQ(output.values(), twice(rows(3, turn)));
  }
  EXPECT_EQ(engine->stats().graph_hits, 2U);
}

TEST_P(StreamsOnStandin, AGraphIsLaunchedOnTheCallersStream) {
  const auto engine = load_twice();
  DeviceValues input(Values(6));
  const DeviceValues output(Values(6));
  const Stream streams[2];
  for (std::size_t turn = 0; turn < 6; ++turn) {
    const Stream& stream = streams[turn % 2];
    input.set(rows(3, turn));
    infer_on(*engine, stream.get(), input, output, 3);
    stream.synchronize();
    EXPECT_EQ(output.values(), twice(rows(3, turn)));
  }
  EXPECT_EQ(engine->stats().captures, 1U);
  EXPECT_EQ(engine->stats().graph_hits, 4U);
}

// All of these use the lane's own memory for their input, one after the other.
TEST_P(StreamsOnStandin, TheUsesOfALaneKeepTheirOrder) {
  const auto engine = load_twice();
  constexpr std::size_t kUnaligned = 4;
  const Stream first;
  const Stream second;
  DeviceValues a(Values(6), kUnaligned);
  DeviceValues b(Values(6), kUnaligned);
  DeviceValues c(Values(6), kUnaligned);
  const DeviceValues from_a(Values(6));
  const DeviceValues from_b(Values(6));
  const DeviceValues from_c(Values(6));
  for (std::size_t turn = 0; turn < 4; ++turn) {
    a.set(rows(3, turn));
    b.set(rows(3, turn + 10));
    c.set(rows(3, turn + 20));
    infer_on(*engine, first.get(), a, from_a, 3);
    infer_on(*engine, second.get(), b, from_b, 3);
    EXPECT_TRUE(is_right(*engine, rows(3, turn + 30))) << "a call that waits";
    infer_on(*engine, first.get(), c, from_c, 3);
    EXPECT_TRUE(is_right(*engine, rows(2, turn))) << "another shape";
    first.synchronize();
    second.synchronize();
    EXPECT_EQ(from_a.values(), twice(rows(3, turn)));
    EXPECT_EQ(from_b.values(), twice(rows(3, turn + 10)));
    EXPECT_EQ(from_c.values(), twice(rows(3, turn + 20)));
  }
}

TEST_P(StreamsOnStandin, ALaneEndsAfterWhatACallersStreamDoesWithIt) {
  const DeviceValues input(rows(3), 4);
  const DeviceValues output(Values(6), 4);
  const Stream stream;
  {
    const auto engine = load_twice();
    infer_on(*engine, stream.get(), input, output, 3);
    EXPECT_EQ(output.values(), Values(6));
  }
  EXPECT_EQ(output.values(), twice(rows(3)));
}

TEST_P(StreamsOnStandin, ARefusedCallKeepsTheOrder) {
  const auto engine = load_twice();
  const DeviceValues input(rows(3), 4);
  const DeviceValues output(Values(6));
  const Stream stream;
  infer_on(*engine, stream.get(), input, output, 3);
  EXPECT_THROW(infer_on(*engine, stream.get(), input, output, 201), InputError);
  EXPECT_TRUE(is_right(*engine, rows(3, 1)));
  stream.synchronize();
  EXPECT_EQ(output.values(), twice(rows(3)));
}

TEST_P(StreamsOnStandin, NewOutputsComeAndGoInTheStreamsOrder) {
  const auto engine = load_twice();
  const DeviceValues input(rows(3));
  const DeviceValues kept(Values(6));
  const Stream stream;
  for (int turn = 0; turn < 4; ++turn) {
    const auto outputs = engine->infer(
        {.inputs = {input.view({3, 2})}, .device_outputs = true, .stream = stream.get()});
    EXPECT_EQ(cudaMemcpyAsync(kept.data(), outputs[0].device.data(), 6 * sizeof(float),
                              cudaMemcpyDeviceToDevice, stream.get()),
              cudaSuccess);
  }
  stream.synchronize();
  EXPECT_EQ(kept.values(), twice(rows(3)));
}

TEST_P(StreamsOnStandin, WithAStreamAllHasToBeOnTheDevice) {
  const auto engine = load_twice();
  const Stream stream;
  const Values input = rows(3);
  const DeviceValues there(rows(3));
  Values pageable(6);
  const OutputView on_heap{reinterpret_cast<std::byte*>(pageable.data()), {3, 2}};
  const PinnedValues pinned(Values(6));
  for (const Request& request :
       {Request{.inputs = {view(input, {3, 2})}, .device_outputs = true, .stream = stream.get()},
        Request{.inputs = {there.view({3, 2})}, .stream = stream.get()},
        Request{.inputs = {there.view({3, 2})}, .outputs = {on_heap}, .stream = stream.get()},
        Request{.inputs = {there.view({3, 2})},
                .outputs = {pinned.output({3, 2})},
                .stream = stream.get()}}) {
    const auto error = thrown_by<InputError>([&] { static_cast<void>(engine->infer(request)); });
    EXPECT_THAT(error.what(), HasSubstr("on the device"));
  }
  stream.synchronize();
  EXPECT_EQ(pageable, Values(6));
}

TEST_P(StreamsOnStandin, AnOutputOnTheHostNeedsACallThatWaits) {
  const auto engine = load(build("input x float32 -1\noutput s int64 1 host\nop a s = shape x\n",
                                 {profile("x", {1}, {2}, {8})}));
  const DeviceValues input(Values(3));
  const Stream stream;
  EXPECT_THROW(static_cast<void>(engine->infer(
                   {.inputs = {input.view({3})}, .device_outputs = true, .stream = stream.get()})),
               InputError);
  EXPECT_THAT(values_of<std::int64_t>(engine->infer({{input.view({3})}})[0]), ElementsAre(3));
}

TEST_P(StreamsOnStandin, InputsAreReadOnceTheyAreReady) {
  const auto engine = load_twice();
  const DeviceValues input(Values(6));
  const DeviceValues output(Values(6));
  PinnedValues source(Values(6));
  const Stream producer;
  const Stream consumer;
  const Event ready;
  for (std::size_t turn = 0; turn < 4; ++turn) {
    source.set(rows(3, turn));
    const auto produce = [&] {
      EXPECT_EQ(cudaMemcpyAsync(input.data(), source.data(), 6 * sizeof(float),
                                cudaMemcpyHostToDevice, producer.get()),
                cudaSuccess);
      ready.record(producer.get());
    };
    produce();
    const auto outputs = engine->infer({.inputs = {input.view({3, 2})}, .inputs_ready = &ready});
    EXPECT_EQ(values_of(outputs[0]), twice(rows(3, turn)));
    source.set(rows(3, turn + 10));
    produce();
    static_cast<void>(engine->infer({.inputs = {input.view({3, 2})},
                                     .outputs = {output.output({3, 2})},
                                     .stream = consumer.get(),
                                     .inputs_ready = &ready}));
    consumer.synchronize();
    EXPECT_EQ(output.values(), twice(rows(3, turn + 10)));
  }
}

TEST_P(StreamsOnStandin, AJunctionIsReadyWhenAllProducersAre) {
  constexpr const char* kAdd =
      "input a float32 -1\ninput b float32 -1\noutput sum float32 -1\nop n sum = add a b\n";
  auto ranges = profile("a", {1}, {2}, {8});
  ranges.merge(profile("b", {1}, {2}, {8}));
  const auto engine = load(build(kAdd, {ranges}), 1);
  const DeviceValues a(Values(2));
  const DeviceValues b(Values(2));
  const PinnedValues ones({1, 2});
  const PinnedValues tens({10, 20});
  const Stream first;
  const Stream second;
  const auto produce = [](const PinnedValues& source, const DeviceValues& input,
                          const Stream& stream) {
    EXPECT_EQ(cudaMemcpyAsync(input.data(), source.data(), 2 * sizeof(float),
                              cudaMemcpyHostToDevice, stream.get()),
              cudaSuccess);
  };
  produce(ones, a, first);
  produce(tens, b, second);
  const auto junction = Junction::of(0);
  junction->add(first.get());
  junction->add(second.get());
  const auto outputs =
      engine->infer({.inputs = {a.view({2}), b.view({2})}, .inputs_ready = &junction->ready()});
  EXPECT_EQ(values_of(outputs[0]), (Values{11, 22}));
}

TEST_P(StreamsOnStandin, AJunctionThatNobodyUsesIsUsedAgain) {
  const Junction* first = Junction::of(0).get();
  const int made = calls_of("cudaStreamCreateWithFlags", [&] {
    const auto again = Junction::of(0);
    EXPECT_EQ(again.get(), first);
  });
  EXPECT_EQ(made, 0);
  const auto elsewhere = Junction::of(1);
  EXPECT_NE(elsewhere.get(), first);
  int device = -1;
  EXPECT_EQ(cudaStreamGetDevice(elsewhere->stream(), &device), cudaSuccess);
  EXPECT_EQ(device, 1);
}

}  // namespace
}  // namespace standin_test
