// Inputs and outputs on the device and in page-locked memory: what is used in place, what is
// copied.
#include <cstddef>
#include <utility>
#include <vector>

#include "cuda/device.h"
#include "serving_test.h"

namespace standin_test {
namespace {

class DeviceMemoryOnStandin : public ServingTest {
 protected:
  static Request request_of(TensorView input, bool device_outputs = true) {
    return {.inputs = {std::move(input)}, .device_outputs = device_outputs};
  }
};
INSTANTIATE_FOR_RELEASES(DeviceMemoryOnStandin);

TEST_P(DeviceMemoryOnStandin, InputsAndOutputsOnTheDeviceAreNotCopied) {
  at_once_and_late([&] {
    const auto engine = load_twice();
    DeviceValues input(rows(3));
    for (std::size_t seed = 0; seed < 4; ++seed) {
      input.set(rows(3, seed));
      const int copies = calls_of("cudaMemcpyAsync", [&] {
        const auto outputs = engine->infer(request_of(input.view({3, 2})));
        EXPECT_EQ(outputs[0].data, nullptr);
        EXPECT_EQ(outputs[0].shape, (Shape{3, 2}));
        EXPECT_EQ(on_device(outputs[0]), twice(rows(3, seed)));
      });
      EXPECT_EQ(copies, 0);
    }
    EXPECT_EQ(engine->memory().lanes[0].device, 0U) << "the lane needs no buffers";
    EXPECT_EQ(engine->memory().lanes[0].pinned, 0U);
  });
}

TEST_P(DeviceMemoryOnStandin, UnalignedInputsAreCopied) {
  at_once_and_late([&] {
    const auto engine = load_twice();
    DeviceValues input(rows(3), 8);
    for (std::size_t seed = 0; seed < 3; ++seed) {
      input.set(rows(3, seed));
      const int copies = calls_of("cudaMemcpyAsync", [&] {
        EXPECT_EQ(on_device(engine->infer(request_of(input.view({3, 2})))[0]),
                  twice(rows(3, seed)));
      });
      EXPECT_EQ(copies, 1);
    }
  });
}

TEST_P(DeviceMemoryOnStandin, NewOutputsOutliveTheEngine) {
  auto engine = load_twice();
  const Values input = rows(2);
  const auto first = engine->infer(request_of(view(input, {2, 2})));
  const auto second = engine->infer(request_of(view(input, {2, 2})));
  EXPECT_NE(first[0].device.data(), second[0].device.data());
  engine.reset();
  EXPECT_EQ(on_device(first[0]), twice(input));
  EXPECT_EQ(on_device(second[0]), twice(input));
}

TEST_P(DeviceMemoryOnStandin, OutputsOnTheDeviceGoToHostInputsToo) {
  at_once_and_late([&] {
    const auto engine = load(build(kPositive, {profile("x", {1}, {4}, {500})}), 1);
    const Values some = {1, -2, 3};
    EXPECT_EQ(on_device(engine->infer(request_of(view(some, {3})))[0]), (Values{1, 3}));
    const Values none = {-1};
    EXPECT_EQ(on_device(engine->infer(request_of(view(none, {1})))[0]), Values{});
    const Values many(400, 2);
    EXPECT_EQ(on_device(engine->infer(request_of(view(many, {400})))[0]), many);
    const DeviceValues input(some);
    EXPECT_EQ(values_of(engine->infer(request_of(input.view({3}), false))[0]), (Values{1, 3}));
  });
}

TEST_P(DeviceMemoryOnStandin, OutputsGoWhereTheCallerWants) {
  at_once_and_late([&] {
    const auto engine = load_large();
    for (const std::size_t count : {std::size_t{3}, kManyRows}) {  // short copies, and long ones
      const Shape shape = {static_cast<std::int64_t>(count), 2};
      const DeviceValues device(Values(2 * count));
      const DeviceValues unaligned(Values(2 * count), 4);
      const PinnedValues pinned(Values(2 * count));
      Values pageable(2 * count);
      const OutputView on_heap{reinterpret_cast<std::byte*>(pageable.data()), shape};
      for (std::size_t seed = 0; seed < 4; ++seed) {
        const Values input = rows(count, seed);
        for (const OutputView& output :
             {device.output(shape), unaligned.output(shape), pinned.output(shape), on_heap}) {
          const auto outputs = engine->infer({{view(input, shape)}, {output}});
          EXPECT_EQ(outputs[0].data, nullptr);
          EXPECT_EQ(outputs[0].device.data(), nullptr);
          EXPECT_EQ(outputs[0].shape, shape);
        }
        for (const auto& values :
             {device.values(), unaligned.values(), pinned.values(), pageable}) {
          EXPECT_EQ(values, twice(input));
        }
      }
    }
  });
}

TEST_P(DeviceMemoryOnStandin, OutputsThatTensorRtCanWriteAreNotCopied) {
  const auto engine = load_twice();
  const DeviceValues input(rows(3));
  const DeviceValues output(Values(6));
  const DeviceValues unaligned(Values(6), 4);
  const auto copies_to = [&](const OutputView& target) {
    return calls_of("cudaMemcpyAsync",
                    [&] { static_cast<void>(engine->infer({{input.view({3, 2})}, {target}})); });
  };
  for (int turn = 0; turn < 4; ++turn) {
    EXPECT_EQ(copies_to(output.output({3, 2})), 0);
    EXPECT_EQ(copies_to(unaligned.output({3, 2})), 1);
  }
}

TEST_P(DeviceMemoryOnStandin, MemoryOfTheCallersMayBeReplacedAtItsAddress) {
  // Copies by TensorRT itself, as of an input that is an output too.
  const auto* const copying = "input x float32 -1,2\noutput y float32 -1,2\nop same y = copy x\n";
  at_once_and_late([&] {
    const auto engine = load(build(copying, {profile("x", {1, 2}, {2, 2}, {200, 2})}), 1);
    for (std::size_t turn = 0; turn < 5; ++turn) {
      const DeviceValues input(rows(3, turn));
      const DeviceValues output(Values(6));
      const PinnedValues pinned(Values(6));
      for (std::size_t call = 0; call < 3; ++call) {
        static_cast<void>(engine->infer({{input.view({3, 2})}, {output.output({3, 2})}}));
        static_cast<void>(engine->infer({{input.view({3, 2})}, {pinned.output({3, 2})}}));
        EXPECT_EQ(output.values(), rows(3, turn));
        EXPECT_EQ(pinned.values(), rows(3, turn));
      }
    }
    EXPECT_EQ(engine->stats().graph_hits, 0U);
    EXPECT_EQ(engine->stats().uncapturable, 1U);
  });
}

TEST_P(DeviceMemoryOnStandin, GraphsOutliveThePinnedOutputsOfTheirCalls) {
  at_once_and_late([&] {
    const auto engine = load_twice();
    for (std::size_t turn = 0; turn < 5; ++turn) {
      const PinnedValues output(Values(6));
      const Values input = rows(3, turn);
      static_cast<void>(engine->infer({{view(input, {3, 2})}, {output.output({3, 2})}}));
      EXPECT_EQ(output.values(), twice(input));
    }
    EXPECT_EQ(engine->stats().graph_hits, 4U);
  });
}

TEST_P(DeviceMemoryOnStandin, GivenOutputsMustHaveTheRightShape) {
  const auto engine = load_twice();
  const Values input = rows(3);
  DeviceValues target(Values(8));
  for (const Shape& shape : {Shape{4, 2}, {2, 2}, {2, 3}, {6}}) {
    const auto error = thrown_by<InputError>(
        [&] { static_cast<void>(engine->infer({{view(input, {3, 2})}, {target.output(shape)}})); });
    EXPECT_EQ(std::string(error.what()),
              "out: output 'y' has the shape (3, 2) for these inputs, "
              "and the array given for it " +
                  trtfast::str(shape));
  }
  EXPECT_EQ(target.values(), Values(8));
  EXPECT_THROW(static_cast<void>(engine->infer(
                   {{view(input, {3, 2})}, {target.output({3, 2}), target.output({3, 2})}})),
               InputError);
  EXPECT_TRUE(is_right(*engine, input));
}

TEST_P(DeviceMemoryOnStandin, GivenOutputsMayDependOnData) {
  at_once_and_late([&] {
    const auto engine = load(build(kPositive, {profile("x", {1}, {4}, {8})}), 1);
    const DeviceValues device(Values(2));
    const PinnedValues pinned(Values(2));
    const Values input = {1, -2, 3};
    static_cast<void>(engine->infer({{view(input, {3})}, {device.output({2})}}));
    EXPECT_EQ(device.values(), (Values{1, 3}));
    static_cast<void>(engine->infer({{view(input, {3})}, {pinned.output({2})}}));
    EXPECT_EQ(pinned.values(), (Values{1, 3}));
    const Values other = {7};
    EXPECT_THROW(static_cast<void>(engine->infer({{view(other, {1})}, {device.output({2})}})),
                 InputError);
    EXPECT_EQ(device.values(), (Values{1, 3}));
  });
}

TEST_P(DeviceMemoryOnStandin, AddressesThatComeTwiceAreCaptured) {
  at_once_and_late([&] {
    const auto engine = load_twice();
    DeviceValues input(Values(6));
    const DeviceValues output(Values(6));
    for (std::size_t turn = 0; turn < 4; ++turn) {
      input.set(rows(3, turn));
      static_cast<void>(engine->infer({{input.view({3, 2})}, {output.output({3, 2})}}));
      EXPECT_EQ(output.values(), twice(rows(3, turn)));
      EXPECT_EQ(engine->stats().captures, turn < 1 ? 0U : 1U);
      EXPECT_EQ(engine->stats().graph_hits, turn < 2 ? 0U : turn - 1);
    }
    const DeviceValues elsewhere(rows(3, 9));
    static_cast<void>(engine->infer({{elsewhere.view({3, 2})}, {output.output({3, 2})}}));
    EXPECT_EQ(output.values(), twice(rows(3, 9)));
    EXPECT_EQ(engine->stats().captures, 1U);
  });
}

TEST_P(DeviceMemoryOnStandin, OneRequestMayHaveBoth) {
  constexpr const char* kAdd =
      "input a float32 -1\n"
      "input b float32 -1\n"
      "output sum float32 -1\n"
      "output twice float32 -1\n"
      "op n1 sum = add a b\n"
      "op n2 twice = affine 2 0 b\n";
  auto ranges = profile("a", {1}, {2}, {8});
  ranges.merge(profile("b", {1}, {2}, {8}));
  at_once_and_late([&] {
    const auto engine = load(build(kAdd, {ranges}), 1);
    const Values a = {1, 2, 3};
    const DeviceValues b({10, 20, 30});
    const DeviceValues sum(Values(3));
    Values doubled(3);
    for (int turn = 0; turn < 4; ++turn) {
      doubled.assign(3, 0);
      static_cast<void>(
          engine->infer({{view(a, {3}), b.view({3})},
                         {sum.output({3}), {reinterpret_cast<std::byte*>(doubled.data()), {3}}}}));
      EXPECT_EQ(sum.values(), (Values{11, 22, 33}));
      EXPECT_EQ(doubled, (Values{20, 40, 60}));
    }
    EXPECT_EQ(engine->stats().graph_hits, 2U);
  });
}

TEST_P(DeviceMemoryOnStandin, LongPinnedArraysAreNotStaged) {
  constexpr std::size_t kBytes = kManyRows * 2 * sizeof(float);
  at_once_and_late([&] {
    const auto engine = load_large();
    const Shape shape = {kManyRows, 2};
    PinnedValues output(Values(2 * kManyRows));
    const auto infer = [&](const TensorView& input) {
      static_cast<void>(engine->infer({{input}, {output.output(shape)}}));
      return engine->memory().lanes[0].pinned;
    };
    PinnedValues pinned(rows(kManyRows));
    for (std::size_t seed = 0; seed < 4; ++seed) {
      pinned.set(rows(kManyRows, seed));
      EXPECT_EQ(infer(pinned.view(shape)), 0U) << "no memory of the lane's is needed";
      EXPECT_EQ(output.values(), twice(rows(kManyRows, seed)));
    }
    const Values pageable = rows(kManyRows, 5);
    EXPECT_EQ(infer(view(pageable, shape)), kBytes);
    EXPECT_EQ(output.values(), twice(pageable));
  });
}

TEST_P(DeviceMemoryOnStandin, AValueThatDecidesShapesIsNotToBeOnTheDevice) {
  const auto engine = load(build("input n int64 2 shape\noutput f float32 -1,-1\nop a f = fill n\n",
                                 {profile("n", {1, 1}, {2, 2}, {4, 4})}));
  const DeviceValues value(Values(4));
  const TensorView input{value.data(), {2}, trtfast::DataType::kInt64, Memory::kDevice};
  EXPECT_THAT(thrown_by<InputError>([&] { static_cast<void>(engine->infer({{input}})); }).what(),
              HasSubstr("give a NumPy array"));
}

TEST_P(DeviceMemoryOnStandin, AnEmptyBatchNeedsNoMemory) {
  at_once_and_late([&] {
    const auto engine = load(build(kTwice, {profile("x", {0, 2}, {2, 2}, {4, 2})}), 1);
    const TensorView nothing{nullptr, {0, 2}, trtfast::DataType::kFloat, Memory::kDevice};
    for (int turn = 0; turn < 3; ++turn) {
      const auto outputs = engine->infer(request_of(nothing));
      EXPECT_EQ(outputs[0].shape, (Shape{0, 2}));
      EXPECT_EQ(outputs[0].device.size(), 0U);
    }
    EXPECT_TRUE(is_right(*engine, rows(1)));
  });
}

TEST_P(DeviceMemoryOnStandin, IsThatOfTheEnginesGpu) {
  const auto engine = load(build(kTwice, {profile("x", {1, 2}, {2, 2}, {4, 2})}), 1, 1);
  const Values input = rows(2);
  const auto outputs = engine->infer(request_of(view(input, {2, 2})));
  EXPECT_EQ(outputs[0].device.device(), 1);
  EXPECT_EQ(on_device(outputs[0]), twice(input));
}

}  // namespace
}  // namespace standin_test
