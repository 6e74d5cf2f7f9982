// How OpenCV and Pillow resize: which pixels each position of a result is made of, and their
// weights.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/resample_math.h"

namespace trtfast::images {

enum class Interpolation : std::int8_t {
  kNearest,
  kNearestExact,
  kLinear,
  kArea,
  kCubic,
  kLanczos,
  kPillowBilinear,
  kPillowBicubic,
  kPillowLanczos,
};

/// @throws InputError for a name that is none.
[[nodiscard]] Interpolation interpolation_of(std::string_view name);

struct Size {
  std::int32_t height;
  std::int32_t width;

  auto operator<=>(const Size&) const = default;
};

/// The arithmetic by which an image is resized.
struct Method {
  kernels::Arithmetic arithmetic = kernels::Arithmetic::kCopy;
  float share = 0;  // of one pixel, for kBox; 0 where there are four
};

[[nodiscard]] Method method_of(Interpolation interpolation, const Size& from, const Size& to);

/// One axis of a resized image, seen through a window.
struct View {
  std::int32_t from;     // pixels before resizing
  std::int32_t to;       // and after
  std::int32_t offset;   // of the window in the resized axis; negative where padding comes first
  std::int32_t visible;  // the window's pixels

  auto operator<=>(const View&) const = default;
};

enum class Direction : std::int8_t { kRows, kColumns };

/// The planes of an axis, as kernels::Taps reads them.
using Table = std::vector<std::int32_t>;

/// @param map for kNearestExact, the pixel that each of the `to` positions shows.
[[nodiscard]] Table table_of(Interpolation interpolation, const Method& method, Direction direction,
                             const View& view, std::span<const std::int32_t> map = {});

}  // namespace trtfast::images
