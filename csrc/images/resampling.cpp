#include "images/resampling.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <utility>

#include "error.h"

namespace trtfast::images {
namespace {

using kernels::Arithmetic;

constexpr float kOne = 1U << unsigned{kernels::kBits};

/// What one position is made of: pixels from `first` on.
struct Weights {
  std::int32_t first = 0;
  std::vector<std::int32_t> words = {};
};

std::int32_t bits(float value) { return std::bit_cast<std::int32_t>(value); }

/// In OpenCV's fixed point; half to even.
std::int32_t fixed(float weight) { return static_cast<std::int32_t>(std::lrint(weight * kOne)); }

/// How many pixels one of the result stands for, in OpenCV's arithmetic.
double scale_of(std::int32_t from, std::int32_t to) {
  return 1.0 / (static_cast<double>(to) / from);
}
double scale_of(const View& view) { return scale_of(view.from, view.to); }

bool is_pillow(Interpolation interpolation) {
  return interpolation >= Interpolation::kPillowBilinear;
}

// ---- OpenCV ----

/// Where a position's centre lies: a pixel, and how far behind its centre.
struct Centre {
  std::int32_t pixel;
  float behind;
};

Centre centre_of(const View& view, int position) {
  const auto centre = static_cast<float>(((position + 0.5) * scale_of(view)) - 0.5);
  const auto pixel = static_cast<std::int32_t>(std::floor(centre));
  return {pixel, centre - static_cast<float>(pixel)};
}

/// For INTER_AREA where an axis does not shrink.
Centre area_centre_of(const View& view, int position) {
  const auto pixel = static_cast<std::int32_t>(std::floor(position * scale_of(view)));
  const double inverse = static_cast<double>(view.to) / view.from;
  const auto behind = static_cast<float>((position + 1) - ((pixel + 1) * inverse));
  return {pixel, behind <= 0 ? 0.F : behind - std::floor(behind)};
}

Weights linear(Centre centre, Direction direction, std::int32_t pixels) {
  // Along rows, what is outside has a weight of its own, and so a rounding.
  if (direction == Direction::kColumns) {
    if (centre.pixel < 0) centre = {0, 0};
    if (centre.pixel >= pixels - 1) centre = {pixels - 1, 0};
  }
  return {centre.pixel, {fixed(1.F - centre.behind), fixed(centre.behind)}};
}

std::array<float, 4> cubic(float x) {
  constexpr float kA = -0.75F;
  const float y = 1 - x;
  const float before = (((((kA * (x + 1)) - (5 * kA)) * (x + 1)) + (8 * kA)) * (x + 1)) - (4 * kA);
  const float here = ((((kA + 2) * x) - (kA + 3)) * x * x) + 1;
  const float next = ((((kA + 2) * y) - (kA + 3)) * y * y) + 1;
  return {before, here, next, 1.F - before - here - next};
}

std::array<float, 8> lanczos(float x) {
  constexpr double kHalf = std::numbers::sqrt2 / 2;
  constexpr double kQuarter = std::numbers::pi / 4;
  // The sine and cosine of each tap's angle, out of those of the first.
  constexpr std::array<std::pair<double, double>, 8> kTurned = {{{1, 0},
                                                                 {-kHalf, -kHalf},
                                                                 {0, 1},
                                                                 {kHalf, -kHalf},
                                                                 {-1, 0},
                                                                 {kHalf, kHalf},
                                                                 {0, -1},
                                                                 {-kHalf, kHalf}}};
  const double angle = -(static_cast<double>(x) + 3) * kQuarter;
  const double sine = std::sin(angle);
  const double cosine = std::cos(angle);
  std::array<float, 8> weights{};
  float total = 0;
  for (std::size_t tap = 0; tap < weights.size(); ++tap) {
    const float distance = x + 3.F - static_cast<float>(tap);
    if (std::abs(distance) >= 1e-6F) {
      const double turned = -static_cast<double>(distance) * kQuarter;
      weights[tap] = static_cast<float>(
          ((kTurned[tap].first * sine) + (kTurned[tap].second * cosine)) / (turned * turned));
    } else {
      weights[tap] = 1e30F;  // all of the weight, after the division below
    }
    total += weights[tap];
  }
  const float share = 1.F / total;
  for (auto& weight : weights) weight *= share;
  return weights;
}

template <std::size_t taps>
Weights spread(const Centre& centre, const std::array<float, taps>& weights, bool in_float32) {
  constexpr float kShare = 1.F / (kOne * kOne);
  Weights found{centre.pixel - static_cast<std::int32_t>(taps / 2) + 1};
  for (const float weight : weights) {
    const auto whole = fixed(weight);
    found.words.push_back(in_float32 ? bits(static_cast<float>(whole) * kShare) : whole);
  }
  return found;
}

/// The pixels that a position covers, each by its share.
Weights area(const View& view, int position) {
  constexpr double kLeast = 1e-3;
  const double scale = scale_of(view);
  const double begin = position * scale;
  const double end = begin + scale;
  const double cell = std::min(scale, view.from - begin);
  const auto last = std::min(static_cast<std::int32_t>(std::floor(end)), view.from - 1);
  const auto first = std::min(static_cast<std::int32_t>(std::ceil(begin)), last);
  Weights found{first};
  if (first - begin > kLeast) {
    --found.first;
    found.words.push_back(bits(static_cast<float>((first - begin) / cell)));
  }
  for (auto pixel = first; pixel < last; ++pixel) {
    found.words.push_back(bits(static_cast<float>(1.0 / cell)));
  }
  if (end - last > kLeast) {
    found.words.push_back(bits(static_cast<float>(std::min({end - last, 1., cell}) / cell)));
  }
  return found;
}

// ---- Pillow ----

double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

/// How far a filter reaches, and its value at a distance.
double reach_of(Interpolation interpolation) {
  if (interpolation == Interpolation::kPillowBilinear) return 1;
  return interpolation == Interpolation::kPillowBicubic ? 2 : 3;
}

double filter(Interpolation interpolation, double x) {
  if (interpolation == Interpolation::kPillowLanczos) {
    return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0;
  }
  x = std::abs(x);
  if (interpolation == Interpolation::kPillowBilinear) return x < 1 ? 1 - x : 0;
  constexpr double kA = -0.5;
  if (x < 1) return ((((kA + 2) * x) - (kA + 3)) * x * x) + 1;
  return x < 2 ? (((((x - 5) * x) + 8) * x) - 4) * kA : 0;
}

/// As a cast to int does.
std::int32_t cut(double value) { return static_cast<std::int32_t>(value); }

Weights pillow(Interpolation interpolation, const View& view, int position) {
  constexpr double kPillowOne = 1U << unsigned{kernels::kPillowBits};
  const double scale = static_cast<double>(view.from) / view.to;
  const double stretch = std::max(scale, 1.0);
  const double reach = reach_of(interpolation) * stretch;
  const double centre = (position + 0.5) * scale;
  const auto first = std::max(cut(centre - reach + 0.5), 0);
  const auto end = std::min(cut(centre + reach + 0.5), view.from);
  std::vector<double> weights;
  double total = 0;
  for (auto pixel = first; pixel < end; ++pixel) {
    weights.push_back(filter(interpolation, (pixel - centre + 0.5) * (1.0 / stretch)));
    total += weights.back();
  }
  Weights found{first};
  for (double weight : weights) {
    if (total != 0) weight *= 1.0 / total;
    const double half = weight < 0 ? -0.5 : 0.5;
    found.words.push_back(static_cast<std::int32_t>(half + (weight * kPillowOne)));
  }
  return found;
}

// ---- All ----

std::int32_t nearest(const View& view, int position) {
  const auto pixel = static_cast<std::int32_t>(std::floor(position * scale_of(view)));
  return std::min(pixel, view.from - 1);
}

// Where the centre falls on the border of two pixels, OpenCV's rounding hangs on the version: a map
// says it.
std::int32_t nearest_exact(const View& view, int position) {
  const std::int64_t twice = ((2 * std::int64_t{position}) + 1) * view.from;
  return static_cast<std::int32_t>(
      std::min<std::int64_t>(twice / (2 * std::int64_t{view.to}), view.from - 1));
}

Weights weights_of(Interpolation interpolation, const Method& method, Direction direction,
                   const View& view, int position, std::span<const std::int32_t> map) {
  const bool is_area = interpolation == Interpolation::kArea;
  switch (method.arithmetic) {
    case Arithmetic::kCopy:
      if (view.from == view.to) return {position, {1}};
      if (!map.empty()) return {map[static_cast<std::size_t>(position)], {1}};
      return {interpolation == Interpolation::kNearest ? nearest(view, position)
                                                       : nearest_exact(view, position),
              {1}};
    case Arithmetic::kLinear:
      return linear(is_area ? area_centre_of(view, position) : centre_of(view, position), direction,
                    view.from);
    case Arithmetic::kCubic: {
      const Centre centre = centre_of(view, position);
      return spread(centre, cubic(centre.behind), direction == Direction::kRows);
    }
    case Arithmetic::kLanczos: {
      const Centre centre = centre_of(view, position);
      return spread(centre, lanczos(centre.behind), false);
    }
    case Arithmetic::kArea: return area(view, position);
    case Arithmetic::kBox: {
      const std::int32_t ratio = view.from / view.to;
      return {position * ratio, std::vector<std::int32_t>(static_cast<std::size_t>(ratio), 1)};
    }
    case Arithmetic::kPillow: {
      if (view.from == view.to)
        return {position, {std::int32_t{1U << unsigned{kernels::kPillowBits}}}};
      return pillow(interpolation, view, position);
    }
  }
  return {};
}

/// Adds the weights of columns outside of the image to those of its borders, for which they stand.
/// Sums of whole numbers stay what they are; and only such arithmetic reaches outside.
void keep_inside(Weights& weights, std::int32_t pixels) {
  const auto count = static_cast<std::int32_t>(weights.words.size());
  if (weights.first >= 0 && weights.first + count <= pixels) return;
  const std::int32_t first = std::clamp(weights.first, 0, pixels - 1);
  const std::int32_t last = std::clamp(weights.first + count - 1, 0, pixels - 1);
  std::vector<std::int32_t> words(static_cast<std::size_t>(last - first + 1));
  for (std::int32_t tap = 0; tap < count; ++tap) {
    const std::int32_t pixel = std::clamp(weights.first + tap, first, last);
    words[static_cast<std::size_t>(pixel - first)] += weights.words[static_cast<std::size_t>(tap)];
  }
  weights = {first, std::move(words)};
}

/// As many weights as the kernel looks at: all that are fixed, else four at a time.
std::size_t weights_for(std::size_t taps, Arithmetic arithmetic) {
  constexpr std::size_t kStep = 4;
  const int fixed = kernels::fixed_taps(arithmetic);
  return fixed > 0 ? static_cast<std::size_t>(fixed) : (taps + kStep - 1) / kStep * kStep;
}

}  // namespace

Interpolation interpolation_of(std::string_view name) {
  constexpr std::array<std::string_view, 9> kNames = {
      "nearest", "nearest_exact", "linear",      "area",       "cubic",
      "lanczos", "pil_bilinear",  "pil_bicubic", "pil_lanczos"};
  const auto* found = std::ranges::find(kNames, name);
  if (found == kNames.end()) throw InputError("unknown interpolation " + std::string(name));
  return static_cast<Interpolation>(found - kNames.begin());
}

Method method_of(Interpolation interpolation, const Size& from, const Size& to) {
  if (from == to) return {Arithmetic::kCopy};
  if (is_pillow(interpolation)) return {Arithmetic::kPillow};
  // OpenCV takes a ratio for whole only if its float64 is: that of 49 to 1 is not.
  const auto is_whole = [](std::int32_t before, std::int32_t after) {
    const double scale = scale_of(before, after);
    return std::abs(scale - std::round(scale)) < std::numeric_limits<double>::epsilon();
  };
  const bool boxes = is_whole(from.height, to.height) && is_whole(from.width, to.width);
  const std::int32_t tall = from.height / to.height;
  const std::int32_t wide = from.width / to.width;
  const bool quarters = boxes && tall == 2 && wide == 2;
  switch (interpolation) {
    case Interpolation::kNearest:
    case Interpolation::kNearestExact: return {Arithmetic::kCopy};
    case Interpolation::kCubic: return {Arithmetic::kCubic};
    case Interpolation::kLanczos: return {Arithmetic::kLanczos};
    case Interpolation::kArea:
      if (to.height > from.height || to.width > from.width) return {Arithmetic::kLinear};
      if (!boxes) return {Arithmetic::kArea};
      return {Arithmetic::kBox,
              quarters ? 0.F : static_cast<float>(1.0 / (static_cast<double>(tall) * wide))};
    default: return quarters ? Method{Arithmetic::kBox} : Method{Arithmetic::kLinear};
  }
}

Table table_of(Interpolation interpolation, const Method& method, Direction direction,
               const View& view, std::span<const std::int32_t> map) {
  const auto positions = static_cast<std::size_t>(view.visible);
  std::vector<Weights> found(positions);
  std::size_t most = 0;
  for (std::size_t index = 0; index < positions; ++index) {
    const std::int32_t position = static_cast<std::int32_t>(index) + view.offset;
    if (position < 0 || position >= view.to) continue;  // padding
    found[index] = weights_of(interpolation, method, direction, view, position, map);
    if (direction == Direction::kColumns) keep_inside(found[index], view.from);
    most = std::max(most, found[index].words.size());
  }
  most = weights_for(most, method.arithmetic);
  Table table((most + 2) * positions);
  for (std::size_t index = 0; index < positions; ++index) {
    const Weights& weights = found[index];
    table[index] = weights.first;
    table[positions + index] = static_cast<std::int32_t>(weights.words.size());
    for (std::size_t tap = 0; tap < weights.words.size(); ++tap) {
      table[((2 + tap) * positions) + index] = weights.words[tap];
    }
  }
  return table;
}

}  // namespace trtfast::images
