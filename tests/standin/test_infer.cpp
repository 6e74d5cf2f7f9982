// From a plan to values: shapes, profiles, several tensors, data-dependent outputs, shape tensors.
#include <cstdint>
#include <string>
#include <vector>

#include "fake_cuda.h"
#include "fixture.h"
#include "images/batch.h"

namespace standin_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using trtfast::DataType;
using trtfast::EngineIncompatibleError;
using trtfast::InputError;
using trtfast::Shape;
using trtfast::UnsupportedDeviceError;

// Each test runs with work done at once, and with work that waits for its stream's synchronisation.
class InferOnStandin : public StandinTest {
 protected:
  template <class Body>
  void at_once_and_late(const Body& body) {
    for (const bool late : {false, true}) {
      fake_cuda::set_late(late);
      SCOPED_TRACE(late ? "late" : "at once");
      body();
    }
  }
};
INSTANTIATE_FOR_RELEASES(InferOnStandin);

constexpr const char* kFixed =
    "input x float32 2,2\n"
    "output y float32 2,2\n"
    "op twice y = affine 2 1 x\n";

constexpr const char* kDynamic =
    "input x float32 -1,2\n"
    "output y float32 -1,2\n"
    "op twice y = affine 2 1 x\n";

constexpr const char* kPositive =
    "input x float32 -1\n"
    "output p float32 -1\n"
    "op keep p = positive x\n";

constexpr const char* kFill =
    "input n int64 2 shape\n"
    "output f float32 -1,-1\n"
    "op fill f = fill n\n";

TEST_P(InferOnStandin, FixedShapes) {
  at_once_and_late([&] {
    const auto engine = load(build(kFixed));
    EXPECT_EQ(run(*engine, {1, 2, 3, 4}, {2, 2}), (Values{3, 5, 7, 9}));
    EXPECT_EQ(run(*engine, {0, 0, 0, -1}, {2, 2}), (Values{1, 1, 1, -1}));
  });
}

TEST_P(InferOnStandin, TellsItsTensors) {
  const auto engine = load(build(kDynamic, {profile("x", {1, 2}, {2, 2}, {4, 2})}));
  ASSERT_EQ(engine->inputs().size(), 1U);
  const auto& input = engine->inputs()[0];
  EXPECT_EQ(input.name, "x");
  EXPECT_EQ(input.dtype, DataType::kFloat);
  EXPECT_EQ(input.shape, (Shape{-1, 2}));
  ASSERT_EQ(input.profiles.size(), 1U);
  EXPECT_EQ(input.profiles[0].max, (Shape{4, 2}));
  ASSERT_EQ(engine->outputs().size(), 1U);
  EXPECT_EQ(engine->outputs()[0].shape, (Shape{-1, 2}));
  EXPECT_THAT(engine->inspect(), HasSubstr("\"twice\""));
}

TEST_P(InferOnStandin, DynamicShapes) {
  at_once_and_late([&] {
    const auto engine = load(build(kDynamic, {profile("x", {1, 2}, {2, 2}, {200, 2})}));
    for (const std::size_t batch : {1U, 200U, 3U, 3U, 2U}) {
      const Values input(batch * 2, 4);
      EXPECT_EQ(run(*engine, input, {static_cast<std::int64_t>(batch), 2}), Values(batch * 2, 9));
    }
    EXPECT_THROW(static_cast<void>(run(*engine, Values(402), {201, 2})), InputError);
    EXPECT_THROW(static_cast<void>(run(*engine, Values(3), {1, 3})), InputError);
    EXPECT_EQ(run(*engine, {1, 1}, {1, 2}), (Values{3, 3})) << "after a refused call";
  });
}

TEST_P(InferOnStandin, AnEmptyBatch) {
  const auto engine = load(build(kDynamic, {profile("x", {0, 2}, {2, 2}, {4, 2})}));
  EXPECT_EQ(run(*engine, {}, {0, 2}), Values{});
  EXPECT_EQ(run(*engine, {1, 2}, {1, 2}), (Values{3, 5}));
}

TEST_P(InferOnStandin, SwitchesProfiles) {
  at_once_and_late([&] {
    const auto engine = load(build(
        kDynamic, {profile("x", {1, 2}, {1, 2}, {2, 2}), profile("x", {10, 2}, {10, 2}, {20, 2})}));
    for (const std::size_t batch : {1U, 10U, 2U, 20U, 10U, 1U}) {
      EXPECT_EQ(run(*engine, Values(batch * 2, 1), {static_cast<std::int64_t>(batch), 2}),
                Values(batch * 2, 3));
    }
    EXPECT_THROW(static_cast<void>(run(*engine, Values(10), {5, 2})), InputError)
        << "between the profiles";
  });
}

TEST_P(InferOnStandin, SeveralInputsAndOutputs) {
  constexpr const char* kModel =
      "input a float32 -1\n"
      "input b float32 -1\n"
      "input h float16 3\n"
      "output sum float32 -1\n"
      "output twice float32 -1\n"
      "output same float16 3\n"
      "output s int64 1 host\n"
      "op n1 sum = add a b\n"
      "op n2 twice = affine 2 0 b\n"
      "op n3 same = copy h\n"
      "op n4 s = shape a\n";
  auto ranges = profile("a", {1}, {2}, {8});
  ranges.merge(profile("b", {1}, {2}, {8}));
  at_once_and_late([&] {
    const auto engine = load(build(kModel, {ranges}));
    const Values a = {1, 2, 3};
    const Values b = {10, 20, 30};
    const std::vector<std::uint16_t> h = {7, 8, 9};
    const std::vector inputs = {view(a, {3}), view(b, {3}), view(h, {3}, DataType::kHalf)};
    const auto outputs = engine->infer({inputs});
    ASSERT_EQ(outputs.size(), 4U);
    EXPECT_EQ(values_of(outputs[0]), (Values{11, 22, 33}));
    EXPECT_EQ(values_of(outputs[1]), (Values{20, 40, 60}));
    EXPECT_THAT(values_of<std::uint16_t>(outputs[2]), ElementsAre(7, 8, 9));
    EXPECT_THAT(values_of<std::int64_t>(outputs[3]), ElementsAre(3));

    const std::vector unequal = {view(a, {3}), view(b, {2}), view(h, {3}, DataType::kHalf)};
    EXPECT_THAT(thrown_by<InputError>([&] { static_cast<void>(engine->infer({unequal})); }).what(),
                HasSubstr("different shapes"));
    EXPECT_THROW(static_cast<void>(engine->infer({})), InputError);
  });
}

TEST_P(InferOnStandin, DataDependentOutputs) {
  at_once_and_late([&] {
    const auto engine = load(build(kPositive, {profile("x", {1}, {4}, {1000})}), 1);
    EXPECT_EQ(run(*engine, {-1, 2, -3, 4}, {4}), (Values{2, 4}));
    EXPECT_EQ(run(*engine, {-1, -2}, {2}), Values{}) << "empty";
    EXPECT_EQ(run(*engine, Values(1000, 5), {1000}), Values(1000, 5)) << "growing";
    EXPECT_EQ(run(*engine, {3}, {1}), Values{3}) << "shrinking";
    EXPECT_EQ(run(*engine, {3}, {1}), Values{3}) << "repeated";
  });
}

TEST_P(InferOnStandin, ShapeTensors) {
  at_once_and_late([&] {
    const auto engine = load(build(kFill, {profile("n", {1, 1}, {2, 2}, {100, 3})}));
    const auto fill = [&](const std::vector<std::int64_t>& n) {
      const std::vector inputs = {view(n, {2}, DataType::kInt64)};
      const auto outputs = engine->infer({inputs});
      EXPECT_EQ(outputs[0].shape, n);
      return values_of(outputs[0]);
    };
    EXPECT_EQ(fill({2, 3}), (Values{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(fill({1, 2}), (Values{1, 2}));
    EXPECT_EQ(fill({100, 3}).size(), 300U);
    EXPECT_THROW(static_cast<void>(fill({101, 1})), InputError);
    EXPECT_EQ(fill({1, 1}), Values{1}) << "after a refused call";
  });
}

TEST_P(InferOnStandin, ChoosesTheProfileThatHoldsTheValues) {
  const std::vector<trtfast::Profile> profiles = {profile("n", {1, 1}, {2, 2}, {4, 4}),
                                                  profile("n", {3, 6}, {3, 7}, {9, 9})};
  at_once_and_late([&] {
    const auto engine = load(build(kFill, profiles), 1);
    EXPECT_EQ(engine->inputs()[0].values[1].max, (Shape{9, 9}));
    const auto fill = [&](const std::vector<std::int64_t>& n) {
      const std::vector inputs = {view(n, {2}, DataType::kInt64)};
      return engine->infer({inputs})[0].shape;
    };
    for (const Shape& n : {Shape{2, 3}, {9, 9}, {4, 4}, {3, 6}, {1, 1}}) EXPECT_EQ(fill(n), n);
    EXPECT_THAT(thrown_by<InputError>([&] { static_cast<void>(fill({2, 6})); }).what(),
                HasSubstr("no optimisation profile of this engine fits n = (2, 6)"));
    EXPECT_EQ(fill({9, 6}), (Shape{9, 6})) << "after a refused call";
  });
}

TEST_P(InferOnStandin, ChoosesTheProfileByValuesOf32Bits) {
  const auto engine = load(build("input n int32 1 shape\noutput f float32 -1\nop fill f = fill n\n",
                                 {profile("n", {1}, {2}, {3}), profile("n", {4}, {5}, {6})}));
  for (const std::int32_t count : {6, 1, 4, 3}) {
    const std::vector value = {count};
    const std::vector inputs = {view(value, {1}, DataType::kInt32)};
    EXPECT_EQ(engine->infer({inputs})[0].shape, (Shape{count}));
  }
}

TEST_P(InferOnStandin, LongShapeTensors) {
  constexpr std::size_t kSize = 40;  // more than 256 bytes, and no multiple of them
  const std::string size = std::to_string(kSize);
  const auto engine = load(build(
      "input v int64 " + size + " shape\noutput w int64 " + size + " host\nop same w = copy v\n",
      {profile("v", Shape(kSize, 0), Shape(kSize, 5), Shape(kSize, 9))}));
  for (const std::int64_t value : {1, 2, 3}) {
    const std::vector<std::int64_t> values(kSize, value);
    const std::vector inputs = {view(values, {kSize}, DataType::kInt64)};
    EXPECT_EQ(values_of<std::int64_t>(engine->infer({inputs})[0]), values);
  }
}

TEST_P(InferOnStandin, Images) {
  constexpr const char* kModel =
      "input x float32 -1,3,1,2\n"
      "output y float32 -1,3,1,2\n"
      "op twice y = affine 2 0 x\n";
  at_once_and_late([&] {
    const auto engine =
        load(build(kModel, {profile("x", {1, 3, 1, 2}, {1, 3, 1, 2}, {4, 3, 1, 2})}));
    Values table(std::size_t{3} * 256);
    for (std::size_t entry = 0; entry < table.size(); ++entry) {
      table[entry] = static_cast<float>(entry);
    }
    using trtfast::images::Batch;
    using trtfast::images::Interpolation;
    using trtfast::images::Recipe;
    const trtfast::kernels::Format format{1, 2, {}, {}, {9, 8, 7}};
    const auto recipe = std::make_shared<const Recipe>(Interpolation::kNearest, format, table);
    const std::vector<std::uint8_t> pixels = {1, 2, 3, 4, 5, 6};  // two
    const auto* data = reinterpret_cast<const std::byte*>(pixels.data());
    const Batch batch(
        recipe, {{data, {1, 2}, false, {{1, 2}, 0, 0}}, {data, {1, 2}, false, {{1, 2}, 0, 1}}});
    const auto outputs = engine->infer(engine->image_request(batch));
    EXPECT_EQ(values_of(outputs[0]), (Values{2, 8, 516, 522, 1030, 1036,      // as it is
                                             8, 18, 522, 528, 1036, 1038}));  // moved, and padded
  });
}

TEST_P(InferOnStandin, KeepsTheKernelsThatItCompiled) {
  const auto plan = build(kFixed);
  std::vector<std::byte> kernels;
  {
    const auto engine = load(plan);
    static_cast<void>(run(*engine, {1, 2, 3, 4}, {2, 2}));
    kernels = engine->kernels();
    EXPECT_EQ(kernels.empty(), !is_rtx());
    EXPECT_EQ(engine->take_new_kernels(), is_rtx());
  }
  for (const auto& given : {kernels, std::vector<std::byte>(3)}) {  // and some that are refused
    trtfast::EngineOptions options;
    options.kernels = given;
    trtfast::Engine engine(library_, plan, options);
    EXPECT_EQ(run(engine, {1, 2, 3, 4}, {2, 2}), (Values{3, 5, 7, 9}));
  }
}

TEST_P(InferOnStandin, RunsOnTheGpuThatItIsLoadedOn) {
  const auto plan = build(kFixed);
  const auto first = load(plan, 1, 0);
  const auto second = load(plan, 1, 1);
  EXPECT_EQ(run(*second, {1, 2, 3, 4}, {2, 2}), (Values{3, 5, 7, 9}));
  EXPECT_EQ(run(*first, {1, 2, 3, 4}, {2, 2}), (Values{3, 5, 7, 9}));
  EXPECT_THROW(static_cast<void>(load(plan, 1, 2)), UnsupportedDeviceError);
}

TEST_P(InferOnStandin, RefusesAGpuThatTheReleaseDoesNotList) {
  const auto plan = build(kFixed);
  fake_cuda::set_devices(1, is_rtx() ? 90 : 61);
  EXPECT_THROW(static_cast<void>(load(plan)), UnsupportedDeviceError);
  trtfast::EngineOptions options;
  options.allow_unsupported_gpu = true;
  trtfast::Engine engine(library_, plan, options);
  EXPECT_EQ(run(engine, {1, 2, 3, 4}, {2, 2}), (Values{3, 5, 7, 9}));
}

TEST_P(InferOnStandin, RefusesPlansOfOtherReleases) {
  auto plan = build(kFixed);
  const std::size_t kMinorVersion = 25;
  plan[kMinorVersion] = std::byte{99};
  EXPECT_THROW(static_cast<void>(load(plan)), EngineIncompatibleError);
  EXPECT_THROW(static_cast<void>(load(bytes_of("no plan at all"))), EngineIncompatibleError);
  EXPECT_THROW(static_cast<void>(load({})), EngineIncompatibleError);
}

TEST_P(InferOnStandin, RefusesDamagedPlans) {
  const auto plan = build(kFixed);
  for (std::size_t size = 4; size < plan.size(); size += 7) {
    EXPECT_THROW(static_cast<void>(load(std::span(plan).first(size))), EngineIncompatibleError);
  }
}

TEST_P(InferOnStandin, FreesEveryObjectBeforeItsParent) {
  auto engine = load(build(kFixed));
  static_cast<void>(run(*engine, {1, 2, 3, 4}, {2, 2}));
  recording_->forget();
  engine.reset();
  const std::string calls = recording_->calls();
  EXPECT_LT(calls.find("~IExecutionContext"), calls.find("~ICudaEngine"));
  EXPECT_LT(calls.find("~ICudaEngine"), calls.find("~IRuntime("));
}

TEST(TwoReleases, ServeSideBySide) {
  fake_cuda::reset();
  std::vector<std::unique_ptr<trtfast::Engine>> engines;
  for (const auto& release : releases()) {
    const auto library = trtfast::tensorrt::Library::open(path_of(release.folder, release.core));
    const auto plan = plan_of(library, kFixed);
    engines.push_back(std::make_unique<trtfast::Engine>(library, plan, trtfast::EngineOptions{}));
  }
  for (const auto& engine : engines) {
    EXPECT_EQ(run(*engine, {1, 2, 3, 4}, {2, 2}), (Values{3, 5, 7, 9}));
  }
}

}  // namespace
}  // namespace standin_test
