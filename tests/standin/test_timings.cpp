// What a build measures is kept for later ones, where TensorRT measures.
#include <cuda_runtime_api.h>

#include <optional>
#include <string>
#include <vector>

#include "engine/timings.h"
#include "fake_cuda.h"
#include "fixture.h"
#include "tensorrt/api.h"

namespace standin_test {
namespace {

using testing::HasSubstr;
using testing::Not;
using namespace trtfast::tensorrt::method;  // NOLINT(google-build-using-namespace): names
using trtfast::merge_timings;
using trtfast::tensorrt::ErrorScope;
using trtfast::tensorrt::Object;

using Bytes = std::vector<std::byte>;

constexpr const char* kAffine =
    "input x float32 4\n"
    "output y float32 4\n"
    "op twice y = affine 2 1 x\n";

constexpr const char* kCopy =
    "input x float32 4\n"
    "output y float32 4\n"
    "op same y = copy x\n";

class TimingsOnStandin : public StandinTest {
 protected:
  Bytes build_knowing(const Bytes& known, const char* model, int device = 0) {
    trtfast::BuildOptions options;
    options.timings = known;
    options.device = device;
    return trtfast::build(
               library_, bytes_of(model), "", options, [](const auto&) { return true; },
               [](const auto&) {})
        .timings;
  }

  /// The operations that were measured since this was last asked.
  [[nodiscard]] std::size_t measured() const {
    const std::size_t count = recording_->count("measure");
    recording_->forget();
    return count;
  }
};
INSTANTIATE_FOR_RELEASES(TimingsOnStandin);

std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_P(TimingsOnStandin, WhatOneBuildMeasuredTheNextDoesNot) {
  if (is_rtx()) return;
  const Bytes first = build_knowing({}, kAffine);
  EXPECT_EQ(measured(), 1U);
  EXPECT_THAT(text_of(first), HasSubstr("affine"));
  EXPECT_EQ(build_knowing(first, kAffine), first);
  EXPECT_EQ(measured(), 0U);
  const Bytes both = build_knowing(first, kCopy);
  EXPECT_EQ(measured(), 1U);
  EXPECT_THAT(text_of(both), HasSubstr("affine copy"));
}

TEST_P(TimingsOnStandin, ThoseThatDoNotFitAreMeasuredAnew) {
  if (is_rtx()) return;
  const Bytes elsewhere = build_knowing({}, kAffine, 1);
  const std::string text = "nonsense";
  const auto nonsense = bytes_of(text);
  recording_->forget();
  for (const Bytes& known : {elsewhere, Bytes(nonsense.begin(), nonsense.end())}) {
    EXPECT_EQ(text_of(build_knowing(known, kAffine)), text_of(build_knowing({}, kAffine)));
    EXPECT_EQ(measured(), 2U) << text_of(known);
  }
}

TEST_P(TimingsOnStandin, ARefusedCacheIsNoReasonOfALaterFailure) {
  if (is_rtx()) return;
  const std::string model = std::string(kAffine) + "fail build twice no tactic\n";
  const std::string nonsense = "nonsense";
  trtfast::BuildOptions options;
  options.timings = bytes_of(nonsense);
  const auto error =
      thrown_by<trtfast::BuildError>([&] { static_cast<void>(plan_of(library_, model, options)); });
  EXPECT_THAT(error.what(), HasSubstr("no tactic"));
  EXPECT_THAT(error.what(), Not(HasSubstr("timing cache")));
}

TEST_P(TimingsOnStandin, TensorRtRtxGetsNone) {
  if (!is_rtx()) return;
  EXPECT_TRUE(build_knowing({}, kAffine).empty());
  const std::string text = "stand-in timings";
  const auto bytes = bytes_of(text);
  EXPECT_TRUE(build_knowing(Bytes(bytes.begin(), bytes.end()), kAffine).empty());
  EXPECT_THAT(recording_->calls(), Not(HasSubstr("TimingCache")));
}

TEST_P(TimingsOnStandin, OfTwoProcessesAreMerged) {
  if (is_rtx()) return;
  const Bytes first = build_knowing({}, kAffine);
  const Bytes second = build_knowing({}, kCopy);
  EXPECT_THAT(text_of(merge_timings(library_, 0, first, second)), HasSubstr("affine copy"));
  EXPECT_EQ(merge_timings(library_, 0, second, first), merge_timings(library_, 0, first, second));
  EXPECT_EQ(merge_timings(library_, 0, first, {}), first);

  const std::string nonsense = "nonsense";
  EXPECT_EQ(merge_timings(library_, 0, first, bytes_of(nonsense)), first);
  EXPECT_EQ(merge_timings(library_, 0, first, build_knowing({}, kCopy, 1)), first);
  EXPECT_THROW(static_cast<void>(merge_timings(library_, 0, bytes_of(nonsense), first)),
               trtfast::BuildError);
}

// The stand-in itself: without these, that no rule was broken would show nothing.
TEST_P(TimingsOnStandin, TheRulesAreChecked) {
  const ErrorScope scope;
  const Object builder(library_, library_->create_builder());
  const Object config(library_, builder.call<VBuilder::createBuilderConfig>());
  const auto create = [&] {
    const void* none = nullptr;
    return config.call<VBuilderConfig::createTimingCache>(none, 0U);
  };
  if (is_rtx()) {
    EXPECT_EQ(create(), nullptr);
    EXPECT_THAT(recording_->violations(), HasSubstr("TensorRT-RTX measures nothing"));
    recording_->forget();
    return;
  }
  std::optional<Object> cache(std::in_place, library_, create());
  const void* face = cache->get();
  EXPECT_FALSE(config.call<VBuilderConfig::setTimingCache>(face, true));
  EXPECT_THAT(recording_->violations(), HasSubstr("may give a wrong engine"));
  EXPECT_TRUE(config.call<VBuilderConfig::setTimingCache>(face, false));
  const void* other = config.get();
  EXPECT_FALSE(cache->call<VTimingCache::combine>(other, false));
  EXPECT_THAT(recording_->violations(), HasSubstr("no live ITimingCache"));
  recording_->forget();

  const Object network(
      library_, builder.call<VBuilder::createNetworkV2>(library_->abi().strongly_typed_flags()));
  const trtfast::tensorrt::Parser parser(network);
  parser.parse(bytes_of(kAffine), "");
  cache.reset();
  EXPECT_THAT(recording_->violations(), HasSubstr("the builder that uses it is alive"));
  EXPECT_EQ(builder.call<VBuilder::buildSerializedNetwork>(network.get(), config.get()), nullptr);
  EXPECT_THAT(recording_->violations(), HasSubstr("deleted before the build"));
  recording_->forget();
}

}  // namespace
}  // namespace standin_test
