// Everything that can fail does, one at a time: the error is the right one, nothing leaks, and the
// engine serves on.
#include <string>
#include <vector>

#include "fake_cuda.h"
#include "fixture.h"

namespace standin_test {
namespace {

using testing::HasSubstr;
using trtfast::CudaError;
using trtfast::EngineIncompatibleError;
using trtfast::Error;
using trtfast::OutOfMemoryError;

class FailuresOnStandin : public StandinTest {};
INSTANTIATE_FOR_RELEASES(FailuresOnStandin);

constexpr const char* kFailing =
    "input x float32 -1\n"
    "output y float32 -1\n"
    "output p float32 -1\n"
    "op twice y = affine 2 1 x\n"
    "op keep p = positive x\n";

constexpr const char* kFixed =
    "input x float32 2\n"
    "output y float32 2\n"
    "op twice y = affine 2 1 x\n";

std::vector<trtfast::Profile> two_profiles() {
  return {profile("x", {1}, {4}, {500}), profile("x", {501}, {501}, {2000})};
}

/// Two calls, of which the second changes the profile and lets every buffer grow.
void serve(trtfast::Engine& engine) {
  EXPECT_EQ(run(engine, {1, -2}, {2}), (Values{3, -3}));
  EXPECT_EQ(run(engine, Values(1000, 1), {1000}), Values(1000, 3));
}

TEST_P(FailuresOnStandin, EveryAllocationMayFail) {
  const auto plan = build(kFailing, two_profiles());
  int failures = 0;
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE("allocation " + std::to_string(nth));
    std::unique_ptr<trtfast::Engine> engine;
    fake_cuda::fail("allocation", nth);
    try {
      engine = load(plan, 1);
      serve(*engine);
      fake_cuda::fail("allocation", 0);
      break;  // it got by with fewer allocations
    } catch (const OutOfMemoryError& error) {
      ++failures;
      EXPECT_GT(error.requested(), 0U);
    } catch (const Error& error) {
      ++failures;
      ADD_FAILURE() << "not an OutOfMemoryError: " << error.what();
    }
    fake_cuda::fail("allocation", 0);
    if (engine == nullptr) {
      EXPECT_EQ(fake_cuda::leaks(), "");
      EXPECT_EQ(recording_->live_objects(), "");
    } else {
      serve(*engine);
    }
  }
  EXPECT_GE(failures, 10) << "the plan's weights, the context, and the buffers of three tensors";
}

TEST_P(FailuresOnStandin, EveryCallOfCudaMayFail) {
  const auto plan = build(kFailing, two_profiles());
  for (const char* function :
       {"cudaStreamCreateWithFlags", "cudaMemcpyAsync", "cudaStreamSynchronize"}) {
    for (int nth = 1;; ++nth) {
      SCOPED_TRACE(std::string(function) + " " + std::to_string(nth));
      std::unique_ptr<trtfast::Engine> engine;
      fake_cuda::fail(function, nth);
      try {
        engine = load(plan, 1);
        serve(*engine);
        fake_cuda::fail(function, 0);
        break;
      } catch (const CudaError& error) {
        EXPECT_THAT(error.what(), HasSubstr(function));
      }
      fake_cuda::fail(function, 0);
      if (engine != nullptr) serve(*engine);
    }
  }
}

TEST_P(FailuresOnStandin, AFailedEnqueueTellsWhatTensorRTLogged) {
  const auto engine =
      load(build(std::string(kFixed) + "fail enqueue 1 the kernel went astray\n"), 1);
  const auto error = thrown_by<Error>([&] { static_cast<void>(run(*engine, {1, 2}, {2})); });
  EXPECT_STREQ(error.kind(), "Error");
  EXPECT_THAT(error.what(), HasSubstr("enqueueV3"));
  EXPECT_THAT(error.what(), HasSubstr("the kernel went astray"));
  EXPECT_EQ(run(*engine, {3, 4}, {2}), (Values{7, 9})) << "the lane is usable again";
}

TEST_P(FailuresOnStandin, AFailedLaunchLeavesTheLaneUsable) {
  const auto engine = load(build(kFixed), 1);
  fake_cuda::fail("launch", 1);
  EXPECT_THAT(thrown_by<Error>([&] { static_cast<void>(run(*engine, {1, 2}, {2})); }).what(),
              HasSubstr("takes no work"));
  EXPECT_EQ(run(*engine, {3, 4}, {2}), (Values{7, 9}));
}

TEST_P(FailuresOnStandin, LoadingTellsWhatTensorRTLogged) {
  const auto failing = build(std::string(kFixed) + "fail load no such layer\n");
  EXPECT_THAT(thrown_by<EngineIncompatibleError>([&] { static_cast<void>(load(failing)); }).what(),
              HasSubstr("no such layer"));
  const auto large = build(std::string(kFixed) + "memory load 5000000000\n");
  EXPECT_EQ(thrown_by<OutOfMemoryError>([&] { static_cast<void>(load(large)); }).requested(),
            5000000000U);
}

TEST_P(FailuresOnStandin, AContextMayFail) {
  const auto failing = build(std::string(kFixed) + "fail context no kernel for this GPU\n");
  EXPECT_THAT(thrown_by<Error>([&] { static_cast<void>(load(failing)); }).what(),
              HasSubstr("no kernel for this GPU"));
  const auto large = build(std::string(kFixed) + "memory context 7000\n");
  EXPECT_EQ(thrown_by<OutOfMemoryError>([&] { static_cast<void>(load(large)); }).requested(),
            7000U);
}

TEST_P(FailuresOnStandin, ThereMayBeNoGpu) {
  const auto plan = build(kFixed);
  fake_cuda::set_devices(0);
  EXPECT_THROW(static_cast<void>(load(plan)), trtfast::UnsupportedDeviceError);
  fake_cuda::set_devices(2);
}

}  // namespace
}  // namespace standin_test
