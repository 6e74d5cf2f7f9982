// From a model to a plan: what is asked of the builder, and every way in which that fails.
#include <cstddef>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "fake_cuda.h"
#include "fixture.h"

namespace standin_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using trtfast::BuildError;
using trtfast::BuildOptions;
using trtfast::InputError;
using trtfast::OutOfMemoryError;
using trtfast::tensorrt::BuildProgress;

class BuildOnStandin : public StandinTest {
 protected:
  trtfast::BuildResult build_with(
      const std::string& model, const BuildOptions& options,
      const trtfast::tensorrt::ProgressFunction& progress = [](const auto&) { return true; },
      const trtfast::PlanSink& sink = [](const auto&) {}) {
    return trtfast::build(library_, bytes_of(model), "some/model.onnx", options, progress, sink);
  }

  [[nodiscard]] bool streams() const {
    return library_->abi().has(trtfast::tensorrt::Capability::kStreamedPlan);
  }
};
INSTANTIATE_FOR_RELEASES(BuildOnStandin);

constexpr const char* kFixed =
    "input x float32 2,3\n"
    "output y float32 2,3\n"
    "op double y = affine 2 0 x\n";

constexpr const char* kDynamic =
    "input x float32 -1,3\n"
    "output y float32 -1,3\n"
    "op double y = affine 2 0 x\n";

TEST_P(BuildOnStandin, WritesAPlanWithTensorRTsHeader) {
  const auto plan = build(kFixed);
  ASSERT_GT(plan.size(), 64U);
  const std::string text(reinterpret_cast<const char*>(plan.data()), plan.size());
  EXPECT_THAT(text, StartsWith(is_rtx() ? "vtrt" : "ftrt"));
}

TEST_P(BuildOnStandin, StreamsThePlanWhereTensorRTCan) {
  const std::string generation = GetParam().generation;
  EXPECT_EQ(streams(), generation != "trt10" || GetParam().folder == std::string("10.16"));
  std::vector<std::size_t> pieces;
  static_cast<void>(build_with(
      kFixed, {}, [](const auto&) { return true; },
      [&](std::span<const std::byte> bytes) { pieces.push_back(bytes.size()); }));
  if (streams()) {
    EXPECT_GT(pieces.size(), 1U);
    EXPECT_EQ(pieces.front(), 50U);
  } else {
    EXPECT_EQ(pieces.size(), 1U);
  }
  EXPECT_EQ(std::accumulate(pieces.begin(), pieces.end(), std::size_t{0}), build(kFixed).size());
}

TEST_P(BuildOnStandin, ASinkThatThrowsEndsTheBuild) {
  int pieces = 0;
  const auto full = [&](const auto&) {
    if (++pieces == (streams() ? 2 : 1)) throw std::runtime_error("the disk is full");
  };
  EXPECT_THROW(static_cast<void>(build_with(
                   kFixed, {}, [](const auto&) { return true; }, full)),
               std::runtime_error);
  EXPECT_EQ(pieces, streams() ? 2 : 1) << "nothing more is written";
}

TEST_P(BuildOnStandin, TellsTheLayersOfTheNetwork) {
  const auto result = build_with(kFixed, {});
  ASSERT_EQ(result.layers.size(), 1U);
  EXPECT_EQ(result.layers[0].name, "double");
  EXPECT_THAT(result.layers[0].inputs, ElementsAre(trtfast::DataType::kFloat))
      << "an optional input that is not there counts for nothing";
  EXPECT_THAT(result.layers[0].outputs, ElementsAre(trtfast::DataType::kFloat));
}

TEST_P(BuildOnStandin, PassesTheOptionsOn) {
  BuildOptions options;
  options.workspace = 123456;
  options.optimization_level = 2;
  static_cast<void>(build_with(kFixed, options));
  const std::string calls = recording_->calls();
  EXPECT_THAT(calls, HasSubstr("setMemoryPoolLimit(123456)"));
  EXPECT_THAT(calls, HasSubstr("setBuilderOptimizationLevel(2)"));
  EXPECT_THAT(calls, HasSubstr("'some/model.onnx'"));
}

TEST_P(BuildOnStandin, ChoosesTf32WhereTheGenerationLetsOne) {
  const auto is_called = [&](const char* call) {
    return recording_->calls().find(call) != std::string::npos;
  };
  static_cast<void>(build_with(kFixed, {}));
  EXPECT_EQ(is_called("clearFlag(6)"), !is_rtx());
  EXPECT_FALSE(is_called("setFlag"));
  BuildOptions options;
  options.tf32 = true;
  static_cast<void>(build_with(kFixed, options));
  EXPECT_EQ(is_called("setFlag(6)"), !is_rtx());
}

TEST_P(BuildOnStandin, TakesTargetsWhereTheGenerationHasThem) {
  BuildOptions options;
  options.targets = {80, 120};
  if (is_rtx()) {
    static_cast<void>(build_with(kFixed, options));
    EXPECT_THAT(recording_->calls(), HasSubstr("setComputeCapability(120, 1)"));
    options.targets = {90};
    EXPECT_THROW(static_cast<void>(build_with(kFixed, options)), InputError);
  } else {
    EXPECT_THAT(thrown_by<InputError>([&] { build_with(kFixed, options); }).what(),
                HasSubstr("takes targets"));
  }
}

TEST_P(BuildOnStandin, NeedsAGpuWhereTensorRTDoes) {
  fake_cuda::set_devices(0);
  if (is_rtx()) {
    EXPECT_FALSE(build(kFixed).empty());
  } else {
    EXPECT_THAT(thrown_by<BuildError>([&] { build(kFixed); }).what(),
                HasSubstr("CUDA initialization failure"));
  }
  fake_cuda::set_devices(2);
}

TEST_P(BuildOnStandin, NamesTheNodeThatTheParserRefuses) {
  const std::string model = std::string(kFixed) + "fail parse double this operator is not known\n";
  const auto error = thrown_by<BuildError>([&] { build(model); });
  EXPECT_EQ(error.node(), "double");
  EXPECT_THAT(error.what(), HasSubstr("node 0 'double' (affine): this operator is not known"));
}

TEST_P(BuildOnStandin, SaysWhyAModelCannotBeRead) {
  const auto error = thrown_by<BuildError>([&] { build("nonsense\n"); });
  EXPECT_EQ(error.node(), "");
  EXPECT_THAT(error.what(), HasSubstr("cannot read 'nonsense'"));
}

TEST_P(BuildOnStandin, NamesTheNodeThatTheBuildRefuses) {
  const std::string model = std::string(kFixed) + "fail build double no tactic\n";
  const auto error = thrown_by<BuildError>([&] { build(model); });
  EXPECT_EQ(error.node(), "double");
  EXPECT_THAT(error.what(), HasSubstr("no tactic"));
}

TEST_P(BuildOnStandin, TellsHowMuchMemoryTheBuildLacked) {
  const std::string model = std::string(kFixed) + "memory build 173383040\n";
  const auto error = thrown_by<OutOfMemoryError>([&] { build(model); });
  EXPECT_EQ(error.requested(), 173383040U);
}

TEST_P(BuildOnStandin, ADynamicInputNeedsAProfileThatFits) {
  EXPECT_THAT(thrown_by<InputError>([&] { build(kDynamic); }).what(), HasSubstr("'x'"));
  const auto refused = [&](const trtfast::Profile& wrong) {
    EXPECT_THROW(build(kDynamic, {wrong}), InputError);
  };
  refused(profile("z", {1, 3}, {1, 3}, {1, 3}));
  refused(profile("x", {1, 4}, {1, 4}, {1, 4}));
  refused(profile("x", {1}, {1}, {1}));
  refused(profile("x", {3, 3}, {2, 3}, {4, 3}));
  EXPECT_FALSE(build(kDynamic, {profile("x", {1, 3}, {2, 3}, {4, 3})}).empty());
}

TEST_P(BuildOnStandin, ReportsThePhasesInOrder) {
  std::vector<std::string> steps;
  static_cast<void>(build_with(kFixed, {}, [&](const BuildProgress& step) {
    steps.push_back(step.phase + "<" + step.parent + " " + std::to_string(step.step) + "/" +
                    std::to_string(step.steps));
    return true;
  }));
  EXPECT_THAT(
      steps,
      ElementsAre("Building engine< -1/3", "Building engine< 0/3",
                  "Tactic selection<Building engine -1/2", "Tactic selection<Building engine 0/2",
                  "Tactic selection<Building engine 1/2", "Tactic selection<Building engine 2/2",
                  "Building engine< 1/3", "Building engine< 2/3", "Building engine< 3/3"));
}

TEST_P(BuildOnStandin, CanBeCancelledAtEveryStep) {
  constexpr int kReports = 9;
  for (int last = 0; last < kReports - 1; ++last) {  // after the last, the build is done
    int seen = 0;
    const auto error = thrown_by<BuildError>([&] {
      static_cast<void>(build_with(kFixed, {}, [&](const auto&) { return seen++ != last; }));
    });
    EXPECT_THAT(error.what(), HasSubstr("cancelled")) << "at report " << last;
  }
}

TEST_P(BuildOnStandin, AProgressFunctionThatThrowsCancels) {
  const auto throws = [](const BuildProgress&) -> bool { throw std::runtime_error("oops"); };
  EXPECT_THROW(static_cast<void>(build_with(kFixed, {}, throws)), std::runtime_error);
  EXPECT_THAT(recording_->calls(), testing::Not(HasSubstr("IHostMemory::data")));
}

TEST_P(BuildOnStandin, DeletesInTheRightOrder) {
  static_cast<void>(build(kFixed));
  const std::string calls = recording_->calls();
  const auto at = [&](const char* text) { return calls.find(text); };
  EXPECT_LT(at("buildSerializedNetwork"), at("~IParser("));
  EXPECT_LT(at("~IParser("), at("~INetworkDefinition"));
  EXPECT_LT(at("~INetworkDefinition"), at("~IBuilder("));
}

}  // namespace
}  // namespace standin_test
