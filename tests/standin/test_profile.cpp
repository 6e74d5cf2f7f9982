// The times of layers, as TensorRT tells them.
#include <cstdint>
#include <string>
#include <vector>

#include "engine/profile.h"
#include "fake_cuda.h"
#include "fixture.h"

namespace standin_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using trtfast::ClosedError;
using trtfast::DataType;
using trtfast::InputError;
using trtfast::LayerTime;

constexpr const char* kTwice =
    "input x float32 -1\n"
    "output y float32 -1\n"
    "output p float32 -1\n"
    "op twice y = affine 2 1 x\n"
    "op keep p = positive x\n";

auto layer(const std::string& name, double time) {
  return AllOf(Field(&LayerTime::name, name), Field(&LayerTime::milliseconds, time));
}

class ProfileOnStandin : public StandinTest {};
INSTANTIATE_FOR_RELEASES(ProfileOnStandin);

TEST_P(ProfileOnStandin, GivesTheMeanOfEachLayerWithoutTheFirstRun) {
  for (const bool late : {false, true}) {
    fake_cuda::set_late(late);
    const auto engine =
        load(build(kTwice, {profile("x", {1}, {2}, {4}), profile("x", {5}, {6}, {8})}), 1);
    const Values values = {1, -2, 3, 4, 5, 6};
    // The stand-in's times are 10 a layer, and 1 for each enqueue of the context: 2, 3 and 4.
    EXPECT_THAT(engine->profile({{view(values, {6})}}, 3),
                ElementsAre(layer("twice", 13), layer("keep", 23)));
    EXPECT_THAT(engine->profile({{view(values, {2})}}, 1),
                ElementsAre(layer("twice", 12), layer("keep", 22)));
    EXPECT_EQ(values_of(engine->infer({{view(values, {2})}})[0]), (Values{3, -3}));
  }
}

TEST_P(ProfileOnStandin, TakesValuesThatDecideShapes) {
  const auto engine = load(build("input n int64 1 shape\noutput f float32 -1\nop fill f = fill n\n",
                                 {profile("n", {1}, {2}, {9}), profile("n", {10}, {20}, {90})}));
  for (const std::int64_t count : {3, 30}) {
    const std::vector value = {count};
    EXPECT_THAT(engine->profile({{view(value, {1}, DataType::kInt64)}}, 2),
                ElementsAre(layer("fill", 12.5)));
  }
}

TEST_P(ProfileOnStandin, RefusesWhatCannotRun) {
  const auto engine = load(build(kTwice, {profile("x", {1}, {2}, {4})}));
  const Values values(9);
  EXPECT_THAT(thrown_by<InputError>([&] {
                static_cast<void>(engine->profile({{view(values, {2})}}, 0));
              }).what(),
              HasSubstr("runs must be 1 or more"));
  EXPECT_THROW(static_cast<void>(engine->profile({{view(values, {9})}}, 1)), InputError);
  EXPECT_THROW(static_cast<void>(engine->profile({}, 1)), InputError);
  engine->close();
  EXPECT_THROW(static_cast<void>(engine->profile({{view(values, {2})}}, 1)), ClosedError);
}

TEST_P(ProfileOnStandin, AFailedRunIsTold) {
  const auto engine =
      load(build("input x float32 2\noutput y float32 2\nop twice y = affine 2 1 x\n"
                 "fail enqueue 2 the kernel went astray\n"));
  const Values values(2);
  EXPECT_THAT(thrown_by<trtfast::Error>([&] {
                static_cast<void>(engine->profile({{view(values, {2})}}, 3));
              }).what(),
              HasSubstr("the kernel went astray"));
}

}  // namespace
}  // namespace standin_test
