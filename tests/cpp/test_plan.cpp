#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "engine/build.h"
#include "engine/plan.h"
#include "error.h"
#include "onnx.h"
#include "support.h"

namespace trtfast::test {
namespace {

using testing::HasSubstr;

std::string relu_plan() {
  BuildOptions options;
  options.profiles = {{{"x", {{1, 4}, {2, 4}, {4, 4}}}}, {{"x", {{5, 4}, {8, 4}, {16, 4}}}}};
  const auto model = onnx_relu(OnnxType::kHalf, {-1, 4});
  const auto bytes = build_model(model, options).plan;
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string refusal_of(const std::string& plan) {
  return message_of<EngineIncompatibleError>(
      [&] { const Plan loaded(library(), bytes_of(plan), 0, true); });
}

TEST(Plan, NeedsAGpuThatIsThere) {
  EXPECT_THROW(Plan(library(), bytes_of("vtrt"), 4096, true), UnsupportedDeviceError);
  if (has_gpu()) return;
  const std::string message = message_of<UnsupportedDeviceError>(
      [] { const Plan plan(library(), bytes_of("vtrt"), 0, true); });
  EXPECT_THAT(message, HasSubstr("no GPU can be used here"));
}

TEST(Plan, RefusesBytesThatAreNoPlan) {
  TRTFAST_NEEDS_GPU();
  for (const std::string& bytes : {std::string(), std::string("vtr"), std::string(4096, 'x')}) {
    EXPECT_THAT(refusal_of(bytes), HasSubstr("not a TensorRT plan"));
  }
}

TEST(Plan, RefusesAPlanThatIsCutShort) {
  TRTFAST_NEEDS_GPU();
  const std::string plan = relu_plan();
  if (!is_rtx(library()->abi().generation())) GTEST_SKIP() << "only RTX writes the size";
  for (const std::size_t size : {std::size_t{4}, std::size_t{63}, plan.size() - 1}) {
    EXPECT_THAT(refusal_of(plan.substr(0, size)), HasSubstr("cut short"));
  }
}

TEST(Plan, TellsItsTensorsAndProfiles) {
  TRTFAST_NEEDS_GPU();
  const std::string bytes = relu_plan();
  const Plan plan(library(), bytes_of(bytes), 0, allows_unsupported_gpu());
  ASSERT_EQ(plan.inputs().size(), 1U);
  ASSERT_EQ(plan.outputs().size(), 1U);
  const TensorSpec& input = plan.inputs()[0];
  EXPECT_EQ(input.name, "x");
  EXPECT_EQ(input.dtype, DataType::kHalf);
  EXPECT_EQ(input.shape, (Shape{-1, 4}));
  ASSERT_EQ(input.profiles.size(), 2U);
  EXPECT_EQ(input.profiles[1].min, (Shape{5, 4}));
  EXPECT_EQ(input.profiles[1].opt, (Shape{8, 4}));
  EXPECT_EQ(input.profiles[1].max, (Shape{16, 4}));
  EXPECT_EQ(plan.outputs()[0].name, "y");
  EXPECT_THAT(plan.inspect(), HasSubstr("Layers"));
}

TEST(Plan, ChoosesTheFirstProfileThatFits) {
  TRTFAST_NEEDS_GPU();
  const std::string bytes = relu_plan();
  const Plan plan(library(), bytes_of(bytes), 0, allows_unsupported_gpu());
  const auto profile_of = [&](std::int64_t batch) {
    const std::vector<TensorView> inputs = {{nullptr, {batch, 4}, DataType::kHalf}};
    return plan.profile_for(inputs);
  };
  EXPECT_EQ(profile_of(1), 0);
  EXPECT_EQ(profile_of(4), 0);
  EXPECT_EQ(profile_of(5), 1);
  EXPECT_EQ(profile_of(16), 1);
  EXPECT_THAT(message_of<InputError>([&] { static_cast<void>(profile_of(17)); }),
              HasSubstr("x(17, 4)"));
}

}  // namespace
}  // namespace trtfast::test
