// How an image is resampled: its tables, and one pixel of the result by them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/resample_math.h"

namespace trtfast::kernels {

/// Where the taps of the positions of one axis of the result are: planes of their first pixels, of
/// how many there are, and of the weight of each.
struct Axis {
  std::uint32_t offset;    // in the tables, in words
  std::int32_t positions;  // words of a plane
};

/// An image, and how its pixels become the result's.
struct Source {
  const std::uint8_t* pixels;  // (height, width, 3), contiguous
  std::int32_t height;
  std::int32_t width;
  Axis rows;
  Axis columns;
  Arithmetic arithmetic;
  /// Whether rows are combined before columns, which only kPillow allows.
  std::int32_t rows_first;
  float share;  // for kBox
};

TRTFAST_BOTH inline Taps taps_at(const std::int32_t* tables, const Axis& axis, int position) {
  return {tables + axis.offset + position, axis.positions};
}

// Both axes at once, with pixels read where they are. For columns of rows, which need all rows at
// hand, and for parts of rows that are too long to be staged.
template <Arithmetic arithmetic>
TRTFAST_BOTH void resample_directly(const Source& source, const Taps& rows, const Taps& columns,
                                    int (&rgb)[3]) {
  using M = Math<arithmetic>;
  const auto pixel = [&](int row, int column, int channel) -> int {
    const int y = clamped(rows.first() + row, source.height - 1);
    const std::size_t at = (static_cast<std::size_t>(y) * static_cast<std::size_t>(source.width)) +
                           static_cast<std::size_t>(columns.first() + column);
    return source.pixels[(at * 3) + static_cast<std::size_t>(channel)];
  };
  // NOLINTBEGIN(readability-suspicious-call-argument): tables and taps have the same names
  for (int channel = 0; channel < 3; ++channel) {
    typename M::Total total{};
    if (arithmetic == Arithmetic::kPillow && source.rows_first) {
      for (int column = 0; column < columns.count(); ++column) {
        typename M::Row sums{};
        for (int row = 0; row < rows.count(); ++row) {
          M::add(sums, rows, row, pixel(row, column, channel));
        }
        M::add_row(total, columns, column, M::end(sums));
      }
    } else {
      for (int turn = 0; turn < rows.count(); ++turn) {
        const int row = tap_at<arithmetic>(turn, rows.count());
        typename M::Row sums{};
        for (int column = 0; column < columns.count(); ++column) {
          M::add(sums, columns, column, pixel(row, column, channel));
        }
        M::add_row(total, rows, row, M::end(sums));
      }
    }
    rgb[channel] = M::value(total, source.share);
  }
  // NOLINTEND(readability-suspicious-call-argument)
}

}  // namespace trtfast::kernels
