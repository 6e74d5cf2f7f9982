#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <future>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/build.h"
#include "error.h"
#include "onnx.h"
#include "support.h"

namespace trtfast::test {
namespace {

using tensorrt::BuildProgress;
using tensorrt::ProgressFunction;
using testing::ElementsAre;
using testing::HasSubstr;

BuildOptions with_profiles(const std::vector<Profile>& profiles) {
  BuildOptions options;
  options.profiles = profiles;
  return options;
}

std::string refusal_of(const std::string& model, const std::vector<Profile>& profiles) {
  return message_of<InputError>(
      [&] { static_cast<void>(build_model(model, with_profiles(profiles))); });
}

void expect_plan(const Built& built) {
  const auto& bytes = built.plan;
  ASSERT_GT(bytes.size(), 64U);
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), 4);
  EXPECT_EQ(start, is_rtx(library()->abi().generation()) ? "vtrt" : "ftrt");
}

TEST(Build, MakesAPlan) { expect_plan(build_model(onnx_relu(OnnxType::kFloat, {2, 3}))); }

// What TensorRT gives in memory, without a stream.
std::vector<std::byte> built_in_memory(const std::string& model) {
  using namespace tensorrt::method;  // NOLINT(google-build-using-namespace): a table of names
  using tensorrt::Object;
  const auto lib = library();
  const Object builder(lib, lib->create_builder());
  const Object network(lib,
                       builder.call<VBuilder::createNetworkV2>(lib->abi().strongly_typed_flags()));
  const tensorrt::Parser parser(network);
  parser.parse(bytes_of(model), "");
  const Object config(lib, builder.call<VBuilder::createBuilderConfig>());
  config.call<VBuilderConfig::setProfilingVerbosity>(tensorrt::ProfilingVerbosity::kDetailed);
  const tensorrt::HostMemory plan(
      lib, builder.call<VBuilder::buildSerializedNetwork>(network.get(), config.get()));
  return {plan.bytes().begin(), plan.bytes().end()};
}

TEST(Build, StreamsTheBytesThatTensorRtGivesInMemory) {
  if (!is_rtx(library()->abi().generation())) GTEST_SKIP() << "TensorRT times kernels anew";
  const std::string model = onnx_relu(OnnxType::kFloat, {2, 3});
  EXPECT_EQ(build_model(model).plan, built_in_memory(model));
}

TEST(Build, ASinkThatThrowsEndsIt) {
  const auto full = [](const auto&) { throw std::logic_error("the disk is full"); };
  const std::string model = onnx_relu(OnnxType::kFloat, {2, 3});
  EXPECT_EQ(message_of<std::logic_error>(
                [&] { static_cast<void>(build(library(), bytes_of(model), "", {}, {}, full)); }),
            "the disk is full");
  expect_plan(build_model(model));
}

TEST(Build, LayersTellTheirDtypes) {
  const std::string model = onnx_model(
      {{"Relu", "activate", {"x"}, {"mid"}}, {"Cast", "narrow", {"mid"}, {"y"}, {{"to", 10}}}},
      {{"x", OnnxType::kFloat, {2, 3}}}, {{"y", OnnxType::kHalf, {2, 3}}});
  const auto result = build_model(model);
  const auto layer = [&](const std::string& name) {
    const auto found = std::ranges::find(result.layers, name, &LayerInfo::name);
    if (found == result.layers.end()) throw std::runtime_error("no layer " + name);
    return *found;
  };
  EXPECT_THAT(layer("activate").inputs, ElementsAre(DataType::kFloat));
  EXPECT_THAT(layer("activate").outputs, ElementsAre(DataType::kFloat));
  EXPECT_THAT(layer("narrow").inputs, ElementsAre(DataType::kFloat));
  EXPECT_THAT(layer("narrow").outputs, ElementsAre(DataType::kHalf));
  EXPECT_NE(layer("activate").type, layer("narrow").type);
}

TEST(Build, TakesDynamicShapesInSeveralProfiles) {
  const Profile smaller = {{"x", {{1, 4}, {4, 4}, {8, 4}}}};
  const Profile larger = {{"x", {{9, 4}, {16, 4}, {32, 4}}}};
  expect_plan(build_model(onnx_relu(OnnxType::kHalf, {-1, 4}), with_profiles({smaller, larger})));
}

TEST(Build, TakesOptions) {
  BuildOptions options;
  options.workspace = std::size_t{1} << 28U;
  options.optimization_level = 1;
  expect_plan(build_model(onnx_relu(OnnxType::kFloat, {2, 3}), options));
}

TEST(Build, RefusesAnOptimizationLevelThatTensorRtDoesNotTake) {
  BuildOptions options;
  options.optimization_level = 99;
  EXPECT_THROW(static_cast<void>(build_model(onnx_relu(OnnxType::kFloat, {2, 3}), options)),
               InputError);
}

TEST(Build, TakesTargetsWhereTheGenerationDoes) {
  BuildOptions options;
  options.targets = {86, 89};
  const std::string model = onnx_relu(OnnxType::kFloat, {2, 3});
  if (library()->abi().has(tensorrt::Capability::kComputeTargets)) {
    expect_plan(build_model(model, options));
  } else {
    EXPECT_THROW(static_cast<void>(build_model(model, options)), InputError);
  }
}

TEST(BuildProfile, IsNeededForADynamicShape) {
  EXPECT_EQ(refusal_of(onnx_relu(OnnxType::kFloat, {-1, 4}), {}),
            "input 'x' has the dynamic shape (-1, 4): give its min, opt and max shapes");
}

TEST(BuildProfile, RefusesANameThatTheModelLacks) {
  EXPECT_EQ(refusal_of(onnx_relu(OnnxType::kFloat, {-1, 4}), {{{"z", {{1, 4}, {1, 4}, {1, 4}}}}}),
            "the model has no input 'z': its inputs are x(-1, 4)");
}

TEST(BuildProfile, RefusesShapesThatDoNotFit) {
  const std::string model = onnx_relu(OnnxType::kFloat, {-1, 4});
  for (const Shape& wrong : {Shape{1, 5}, Shape{1}, Shape{1, 4, 1}, Shape{-1, 4}}) {
    EXPECT_THAT(refusal_of(model, {{{"x", {wrong, wrong, wrong}}}}),
                HasSubstr("shape " + str(wrong) + " does not fit input 'x' of shape (-1, 4)"));
  }
}

TEST(BuildProfile, RefusesShapesOutOfOrder) {
  const std::string model = onnx_relu(OnnxType::kFloat, {-1, 4});
  EXPECT_EQ(refusal_of(model, {{{"x", {{4, 4}, {1, 4}, {8, 4}}}}}),
            "input 'x': min <= opt <= max does not hold for (4, 4), (1, 4), (8, 4)");
  EXPECT_THAT(refusal_of(model, {{{"x", {{1, 4}, {9, 4}, {8, 4}}}}}), HasSubstr("does not hold"));
}

TEST(BuildProfile, OfShapeValuesHoldsTheirRange) {
  expect_plan(build_model(onnx_expand(), with_profiles({{{"shape", {{1, 1}, {4, 4}, {8, 8}}}}})));
}

TEST(BuildProfile, IsNeededForShapeValues) {
  EXPECT_EQ(refusal_of(onnx_expand(), {}),
            "input 'shape' decides shapes by its values: give their min, opt and max as its "
            "shapes");
}

TEST(BuildProfile, RefusesShapeValuesOfAnotherCountOrOutOfOrder) {
  EXPECT_THAT(refusal_of(onnx_expand(), {{{"shape", {{1}, {4}, {8}}}}}),
              HasSubstr("input 'shape' holds 2 values"));
  EXPECT_THAT(refusal_of(onnx_expand(), {{{"shape", {{1, 1, 1}, {4, 4, 4}, {8, 8, 8}}}}}),
              HasSubstr("input 'shape' holds 2 values"));
  EXPECT_THAT(refusal_of(onnx_expand(), {{{"shape", {{4, 4}, {1, 1}, {8, 8}}}}}),
              HasSubstr("(4, 4), (1, 1), (8, 8)"));
}

TEST(BuildErrors, NameTheNodeOfAnUnknownOperator) {
  const std::string model =
      onnx_model({{"NoSuchOperator", "mystery", {"x"}, {"y"}}}, {{"x", OnnxType::kFloat, {1}}},
                 {{"y", OnnxType::kFloat, {1}}});
  try {
    static_cast<void>(build_model(model));
    FAIL() << "nothing was thrown";
  } catch (const BuildError& error) {
    EXPECT_EQ(error.node(), "mystery");
    EXPECT_THAT(error.what(), HasSubstr("'mystery' (NoSuchOperator)"));
  }
}

TEST(BuildErrors, BytesThatAreNoModelAreRefused) {
  for (const std::string& model :
       {std::string(), std::string("not a model"), std::string(4096, '\xff'),
        onnx_relu(OnnxType::kFloat, {2, 3}).substr(0, 20)}) {
    EXPECT_THROW(static_cast<void>(build_model(model)), BuildError) << model.size();
  }
}

TEST(BuildProgressFunction, SeesPhasesFromStartToFinish) {
  std::mutex mutex;
  std::vector<BuildProgress> told;
  expect_plan(build_model(onnx_relu(OnnxType::kFloat, {2, 3}), {}, [&](const BuildProgress& step) {
    const std::scoped_lock lock(mutex);
    told.push_back(step);
    return true;
  }));
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.front().step, -1);
  EXPECT_EQ(told.front().parent, "");
  EXPECT_EQ(told.back().phase, told.front().phase);
  EXPECT_EQ(told.back().step, told.back().steps);
}

TEST(BuildProgressFunction, AnswerOfFalseCancels) {
  std::atomic<int> calls = 0;
  const std::string message = message_of<BuildError>([&] {
    static_cast<void>(
        build_model(onnx_relu(OnnxType::kFloat, {2, 3}), {}, [&](const BuildProgress& /*step*/) {
          ++calls;
          return false;
        }));
  });
  EXPECT_EQ(message, "the build was cancelled");
  EXPECT_EQ(calls, 1);  // it is not asked again
}

TEST(BuildProgressFunction, ItsExceptionEndsTheBuildAndReachesTheCaller) {
  const std::string message = message_of<std::logic_error>([&] {
    static_cast<void>(build_model(
        onnx_relu(OnnxType::kFloat, {2, 3}), {},
        [](const BuildProgress& /*step*/) -> bool { throw std::logic_error("its own"); }));
  });
  EXPECT_EQ(message, "its own");
}

TEST(BuildThreads, BuildAtOnceAndKeepTheirErrors) {
  const auto good = [] { expect_plan(build_model(onnx_relu(OnnxType::kFloat, {2, 3}))); };
  const auto bad = [] {
    const std::string model =
        onnx_model({{"NoSuchOperator", "mystery", {"x"}, {"y"}}}, {{"x", OnnxType::kFloat, {1}}},
                   {{"y", OnnxType::kFloat, {1}}});
    EXPECT_THAT(message_of<BuildError>([&] { static_cast<void>(build_model(model)); }),
                HasSubstr("mystery"));
  };
  std::vector<std::future<void>> builds;
  for (const auto& one : std::vector<std::function<void()>>{good, good, bad}) {
    builds.push_back(std::async(std::launch::async, one));
  }
  for (auto& one : builds) one.get();
}

}  // namespace
}  // namespace trtfast::test
