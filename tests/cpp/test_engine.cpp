#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <future>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/build.h"
#include "engine/engine.h"
#include "error.h"
#include "onnx.h"
#include "support.h"

namespace trtfast::test {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kWidth = 4;

// Half precision as bits, which Relu keeps or makes zero: no arithmetic to be inexact about.
using Halves = std::vector<std::uint16_t>;
constexpr std::uint16_t kNegative = 0x8000;

Halves some(std::int64_t batch, std::size_t seed) {
  constexpr std::uint16_t kSmallestNormal = 0x0400;
  Halves values(static_cast<std::size_t>(batch * kWidth));
  for (std::size_t index = 0; index < values.size(); ++index) {
    const auto magnitude =
        static_cast<std::uint16_t>(kSmallestNormal + (((seed * 37) + index) % 1000));
    values[index] = magnitude;
    if (index % 3 == 0) values[index] |= kNegative;
  }
  return values;
}

Halves relu(Halves values) {
  for (auto& value : values) {
    if ((value & kNegative) != 0) value = 0;
  }
  return values;
}

TensorView view_of(const Halves& values) {
  const auto batch = static_cast<std::int64_t>(values.size()) / kWidth;
  return {reinterpret_cast<const std::byte*>(values.data()), {batch, kWidth}, DataType::kHalf};
}

Halves infer(Engine& engine, const Halves& values) {
  const std::vector<TensorView> inputs = {view_of(values)};
  const auto outputs = engine.infer({inputs});
  if (outputs.size() != 1 || outputs[0].shape != inputs[0].shape ||
      outputs[0].dtype != DataType::kHalf) {
    throw std::runtime_error("an output of another shape or dtype");
  }
  Halves result(values.size());
  if (!result.empty()) {
    std::memcpy(result.data(), outputs[0].data.get(), result.size() * sizeof(result[0]));
  }
  return result;
}

EngineOptions options_of(int lanes) {
  EngineOptions options;
  options.lanes = lanes;
  options.allow_unsupported_gpu = allows_unsupported_gpu();
  return options;
}

std::unique_ptr<Engine> load(int lanes) {
  BuildOptions options;
  options.profiles = {{{"x", {{1, kWidth}, {2, kWidth}, {4, kWidth}}}},
                      {{"x", {{5, kWidth}, {8, kWidth}, {16, kWidth}}}}};
  const auto model = onnx_relu(OnnxType::kHalf, {-1, kWidth});
  const auto built = build_model(model, options);
  return std::make_unique<Engine>(library(), built.plan, options_of(lanes));
}

TEST(Engine, RefusesLanesBelowOne) {
  TRTFAST_NEEDS_GPU();
  EXPECT_THAT(message_of<InputError>([] { static_cast<void>(load(0)); }), HasSubstr("not 0"));
}

TEST(Engine, GivesTheRightValuesForEveryBatchOfBothProfiles) {
  TRTFAST_NEEDS_GPU();
  const auto engine = load(1);
  for (const std::int64_t batch : {1, 4, 5, 16, 2, 16, 1}) {
    const Halves values = some(batch, static_cast<std::size_t>(batch));
    EXPECT_EQ(infer(*engine, values), relu(values)) << batch;
  }
}

TEST(Engine, StaysUsableAfterInputThatIsRefused) {
  TRTFAST_NEEDS_GPU();
  const auto engine = load(1);
  const Halves values = some(2, 1);
  EXPECT_THROW(static_cast<void>(engine->infer({})), InputError);
  EXPECT_THROW(infer(*engine, some(17, 1)), InputError);
  std::vector<TensorView> wrong = {view_of(values)};
  wrong[0].dtype = DataType::kBf16;
  EXPECT_THROW(static_cast<void>(engine->infer({wrong})), InputError);
  wrong = {view_of(values)};
  wrong[0].shape = {kWidth, 2};
  EXPECT_THROW(static_cast<void>(engine->infer({wrong})), InputError);
  EXPECT_EQ(infer(*engine, values), relu(values));
}

TEST(Engine, ServesManyThreadsOnFewLanes) {
  TRTFAST_NEEDS_GPU();
  constexpr std::size_t kThreads = 8;
  constexpr std::size_t kCalls = 100;
  const auto engine = load(2);
  std::atomic<std::size_t> right = 0;
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t call = 0; call < kCalls; ++call) {
          const auto batch = static_cast<std::int64_t>(1 + ((thread + call) % 16));
          const Halves values = some(batch, (thread * kCalls) + call);
          if (infer(*engine, values) == relu(values)) ++right;
        }
      });
    }
  }
  EXPECT_EQ(right, kThreads * kCalls);
}

TEST(Engine, CloseDuringTrafficFinishesCallsAndRefusesLaterOnes) {
  TRTFAST_NEEDS_GPU();
  constexpr int kThreads = 8;
  const auto engine = load(2);
  std::atomic<int> wrong = 0;
  std::atomic<int> closed = 0;
  std::latch running(kThreads);
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, seed = static_cast<std::size_t>(thread)] {
        const Halves values = some(3, seed);
        bool counted = false;
        try {
          for (;;) {
            if (infer(*engine, values) != relu(values)) ++wrong;
            if (!counted) running.count_down();
            counted = true;
          }
        } catch (const ClosedError&) {
          ++closed;
        }
      });
    }
    running.wait();
    auto other = std::async(std::launch::async, [&] { engine->close(); });
    engine->close();
    other.get();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(closed, kThreads);
  EXPECT_THROW(infer(*engine, some(1, 1)), ClosedError);
  EXPECT_NO_THROW(engine->close());
}

TEST(Engine, TellsItsTensorsAfterClose) {
  TRTFAST_NEEDS_GPU();
  const auto engine = load(1);
  engine->close();
  ASSERT_EQ(engine->inputs().size(), 1U);
  EXPECT_EQ(engine->inputs()[0].name, "x");
  EXPECT_EQ(engine->outputs()[0].name, "y");
}

TEST(Engine, KeepsItsKernelsWhereTensorRtCompilesThem) {
  TRTFAST_NEEDS_GPU();
  const auto engine = load(1);
  const Halves values = some(2, 1);
  EXPECT_EQ(infer(*engine, values), relu(values));
  const bool compiles = library()->abi().has(tensorrt::Capability::kRuntimeCache);
  EXPECT_EQ(engine->take_new_kernels(), compiles);
  EXPECT_FALSE(engine->take_new_kernels());  // asked and answered
  EXPECT_EQ(engine->kernels().empty(), !compiles);
}

TEST(Engine, TakesShapesFromAnInputsValues) {
  TRTFAST_NEEDS_GPU();
  BuildOptions options;
  options.profiles = {{{"shape", {{1, 1}, {2, 2}, {4, 4}}}}, {{"shape", {{1, 5}, {2, 6}, {8, 8}}}}};
  const auto model = onnx_expand();
  const auto built = build_model(model, options);
  Engine engine(library(), built.plan, options_of(1));
  const float value = 2.5F;
  for (const std::vector<std::int64_t>& asked :
       {std::vector<std::int64_t>{2, 3}, {8, 8}, {1, 1}, {1, 5}}) {
    std::vector<TensorView> inputs;
    for (const auto& spec : engine.inputs()) {
      if (spec.name == "x") {
        inputs.push_back({reinterpret_cast<const std::byte*>(&value), {1, 1}, DataType::kFloat});
      } else {
        inputs.push_back({reinterpret_cast<const std::byte*>(asked.data()), {2}, DataType::kInt64});
      }
    }
    const auto outputs = engine.infer({inputs});
    ASSERT_EQ(outputs.size(), 1U);
    EXPECT_EQ(outputs[0].shape, asked);
    std::vector<float> values(static_cast<std::size_t>(asked[0] * asked[1]));
    std::memcpy(values.data(), outputs[0].data.get(), values.size() * sizeof(float));
    EXPECT_THAT(values, testing::Each(value));
  }
}

}  // namespace
}  // namespace trtfast::test
