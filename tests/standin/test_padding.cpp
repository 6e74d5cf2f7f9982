// Batches that run in the bucket of a larger one.
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include "serving_test.h"

namespace standin_test {
namespace {

/// Each element of `y` is `x`'s with the sum of all of `x`: rows that are added would show in it.
constexpr const char* kTotal =
    "input x float32 -1,2\n"
    "output y float32 -1,2\n"
    "op total y = total x\n";

Values total(Values values) {
  const float sum = std::accumulate(values.begin(), values.end(), 0.F);
  for (auto& value : values) value += sum;
  return values;
}

class PaddingOnStandin : public ServingTest {
 protected:
  static trtfast::EngineOptions padded() {
    trtfast::EngineOptions options;
    options.lanes = 1;
    options.lane.pad_to_bucket = true;
    return options;
  }
  [[nodiscard]] std::unique_ptr<trtfast::Engine> load_total() {
    return load(build(kTotal, {profile("x", {1, 2}, {2, 2}, {200, 2})}), padded());
  }
};
INSTANTIATE_FOR_RELEASES(PaddingOnStandin);

TEST_P(PaddingOnStandin, ASmallerBatchRunsInTheBucketOfALargerOne) {
  at_once_and_late([&] {
    const auto engine = load_total();
    EXPECT_EQ(run(*engine, rows(8), {8, 2}), total(rows(8)));
    recording_->forget();
    for (std::size_t seed = 1; seed < 3; ++seed) {
      for (const std::size_t count : {3U, 7U, 1U}) {
        const Values input = rows(count, seed);
        EXPECT_EQ(run(*engine, input, rows_shape(input)), total(input))
            << "rows of zeros are added";
      }
    }
    EXPECT_EQ(recording_->calls(), "") << "each was one launch";
    EXPECT_EQ(engine->stats().padded, 6U);
    EXPECT_EQ(engine->stats().graph_hits, 6U);
    EXPECT_EQ(engine->stats().captures, 1U);
    EXPECT_EQ(run(*engine, rows(9), {9, 2}), total(rows(9))) << "for these there is no bucket";
    EXPECT_EQ(engine->stats().padded, 6U);
  });
}

TEST_P(PaddingOnStandin, IsOffByDefault) {
  const auto engine = load(build(kTotal, {profile("x", {1, 2}, {2, 2}, {200, 2})}), 1);
  EXPECT_EQ(run(*engine, rows(8), {8, 2}), total(rows(8)));
  EXPECT_EQ(run(*engine, rows(3), {3, 2}), total(rows(3)));
  EXPECT_EQ(engine->stats().padded, 0U);
  EXPECT_EQ(engine->stats().captures, 2U);
}

TEST_P(PaddingOnStandin, WorksWithMemoryOfTheCallers) {
  at_once_and_late([&] {
    const auto engine = load_total();
    EXPECT_EQ(run(*engine, rows(8), {8, 2}), total(rows(8)));
    DeviceValues input(Values(6));
    DeviceValues device(Values(6));
    const PinnedValues pinned(Values(6));
    Values pageable(6);
    std::size_t seed = 0;
    for (const OutputView& output :
         {device.output({3, 2}), pinned.output({3, 2}),
          OutputView{reinterpret_cast<std::byte*>(pageable.data()), {3, 2}}}) {
      input.set(rows(3, ++seed));
      const auto outputs = engine->infer({{input.view({3, 2})}, {output}});
      EXPECT_EQ(outputs[0].shape, (Shape{3, 2}));
    }
    EXPECT_EQ(device.values(), total(rows(3, 1)));
    EXPECT_EQ(pinned.values(), total(rows(3, 2)));
    EXPECT_EQ(pageable, total(rows(3, 3)));
    const auto outputs = engine->infer({.inputs = {input.view({3, 2})}, .device_outputs = true});
    EXPECT_EQ(outputs[0].shape, (Shape{3, 2}));
    EXPECT_EQ(on_device(outputs[0]), total(rows(3, 3)));
    EXPECT_EQ(engine->stats().padded, 4U);
    const auto given_too_much = thrown_by<InputError>(
        [&] { static_cast<void>(engine->infer({{input.view({3, 2})}, {device.output({8, 2})}})); });
    EXPECT_THAT(given_too_much.what(), HasSubstr("has the shape (3, 2)"));
  });
}

TEST_P(PaddingOnStandin, TellsTheShapesOfTheCallersRows) {
  const auto engine = load_total();
  EXPECT_EQ(run(*engine, rows(8), {8, 2}), total(rows(8)));
  const std::vector<Shape> shapes = {{3, 2}};
  EXPECT_THAT(engine->output_shapes(shapes), ElementsAre(Shape{3, 2}));
}

TEST_P(PaddingOnStandin, InputsThatDoNotFitTogetherAreStillRefused) {
  constexpr const char* kAdd =
      "input a float32 -1\ninput b float32 -1\noutput sum float32 -1\nop n sum = add a b\n";
  auto ranges = profile("a", {1}, {2}, {8});
  ranges.merge(profile("b", {1}, {2}, {8}));
  const auto engine = load(build(kAdd, {ranges}), padded());
  const auto add = [&](const Values& a, const Values& b) {
    return values_of(engine->infer({{view(a, {static_cast<std::int64_t>(a.size())}),
                                     view(b, {static_cast<std::int64_t>(b.size())})}})[0]);
  };
  EXPECT_EQ(add(Values(8, 1), Values(8, 2)), Values(8, 3));
  EXPECT_EQ(add({1, 2, 3}, {10, 20, 30}), (Values{11, 22, 33}));
  EXPECT_THROW(add({1, 2, 3}, {10, 20}), InputError);
  EXPECT_THROW(add({1, 2, 3}, Values(8, 1)), InputError);
  EXPECT_EQ(engine->stats().padded, 1U);
}

TEST_P(PaddingOnStandin, IsRefusedWhereRowsCannotBeTakenAway) {
  const auto refused = [&](const std::string& model, const trtfast::Profile& range) {
    const auto plan = build(model, {range});
    EXPECT_THAT(thrown_by<InputError>([&] { static_cast<void>(load(plan, padded())); }).what(),
                HasSubstr("pad_to_bucket"));
    EXPECT_NE(load(plan, 1), nullptr) << "without it the engine is loaded";
  };
  refused(std::string(kTotal) + "output s int64 2 host\nop a s = shape x\n",
          profile("x", {1, 2}, {2, 2}, {4, 2}));
  refused("input x float32 2,-1\noutput y float32 2,-1\nop a y = copy x\n",
          profile("x", {2, 1}, {2, 2}, {2, 4}));
  refused("input n int64 2 shape\noutput f float32 -1,-1\nop a f = fill n\n",
          profile("n", {1, 1}, {2, 2}, {4, 4}));
}

}  // namespace
}  // namespace standin_test
