// The arithmetic of OpenCV's and Pillow's resampling of uint8 images, step by step, for kernels
// and, to test it where there is no GPU, for the host: every rounding has to come at the same
// place.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define TRTFAST_BOTH __host__ __device__
#else
#define TRTFAST_BOTH
#endif

// Kernels' arithmetic, in int as OpenCV and Pillow have it.
// NOLINTBEGIN(bugprone-signed-bitwise,bugprone-implicit-widening-of-multiplication-result,cppcoreguidelines-init-variables,readability-avoid-nested-conditional-operator,readability-math-missing-parentheses,readability-named-parameter,hicpp-*)
namespace trtfast::kernels {

/// How pixels are combined, first along the columns of a row and then along rows. OpenCV's, but for
/// area, have a fixed number of taps; weights that are not used are 0.
enum class Arithmetic : std::int32_t {
  kCopy,     // a single pixel
  kLinear,   // OpenCV's INTER_LINEAR: 11 bits for each axis, cut off in two places
  kCubic,    // OpenCV's INTER_CUBIC: 11 bits along a row, float32 along rows
  kLanczos,  // OpenCV's INTER_LANCZOS4: 11 bits for each axis
  kArea,     // OpenCV's INTER_AREA, in float32
  kBox,      // the same where both ratios are whole: a sum
  kPillow,   // Pillow's, with 22 bits, and rounded to uint8 between the axes
};

/// How many taps each position has; 0 where that depends on the sizes.
TRTFAST_BOTH constexpr int fixed_taps(Arithmetic arithmetic) {
  switch (arithmetic) {
    case Arithmetic::kCopy: return 1;
    case Arithmetic::kLinear: return 2;
    case Arithmetic::kCubic: return 4;
    case Arithmetic::kLanczos: return 8;
    default: return 0;
  }
}

inline constexpr int kBits = 11;        // OpenCV's INTER_RESIZE_COEF_BITS
inline constexpr int kPillowBits = 22;  // Pillow's PRECISION_BITS

/// The pixels that one position of the result is made of, along one axis: of planes of int32, in
/// which neighbouring positions lie side by side.
struct Taps {
  const std::int32_t* words;
  std::int32_t plane;  // words from one to the next

  /// Along rows, positions before the first and behind the last pixel stand for these. Columns are
  /// all within the image.
  [[nodiscard]] TRTFAST_BOTH int first() const { return words[0]; }
  /// 0 where the position is padding.
  [[nodiscard]] TRTFAST_BOTH int count() const { return words[plane]; }
  [[nodiscard]] TRTFAST_BOTH int whole(int tap) const { return words[(2 + tap) * plane]; }
  [[nodiscard]] TRTFAST_BOTH float real(int tap) const {
    float value;
    memcpy(&value, &words[(2 + tap) * plane], sizeof(value));
    return value;
  }
};

TRTFAST_BOTH inline int clamped(int value, int last) {
  return value < 0 ? 0 : (value > last ? last : value);
}

// Never contracted to a fused multiply-add, which rounds once where two roundings are meant.
TRTFAST_BOTH inline float product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
TRTFAST_BOTH inline float sum(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}
/// Half to even, as OpenCV's cvRound.
TRTFAST_BOTH inline int rounded(float value) {
#ifdef __CUDA_ARCH__
  return __float2int_rn(value);
#else
  return static_cast<int>(std::lrintf(value));
#endif
}
TRTFAST_BOTH inline int pillow_rounded(int value) {
  return clamped((value + (1 << (kPillowBits - 1))) >> kPillowBits, 255);
}

/// What integer arithmetics share: a row's pixels are weighed and added.
struct WholeRow {
  using Row = int;
  TRTFAST_BOTH static void add(Row& row, const Taps& columns, int tap, int pixel) {
    row += columns.whole(tap) * pixel;
  }
  TRTFAST_BOTH static int end(Row row) { return row; }
};

template <Arithmetic>
struct Math;

template <>
struct Math<Arithmetic::kCopy> : WholeRow {
  using Total = int;
  TRTFAST_BOTH static void add(Row& row, const Taps&, int, int pixel) { row = pixel; }
  TRTFAST_BOTH static void add_row(Total& total, const Taps&, int, Row row) { total = row; }
  TRTFAST_BOTH static int value(Total total, float) { return total; }
};

template <>
struct Math<Arithmetic::kLinear> : WholeRow {
  using Total = int;
  TRTFAST_BOTH static void add_row(Total& total, const Taps& rows, int tap, Row row) {
    total += (rows.whole(tap) * (row >> 4)) >> 16;
  }
  TRTFAST_BOTH static int value(Total total, float) { return clamped((total + 2) >> 2, 255); }
};

template <>
struct Math<Arithmetic::kCubic> : WholeRow {
  using Total = float;
  TRTFAST_BOTH static void add_row(Total& total, const Taps& rows, int tap, Row row) {
    total = sum(product(static_cast<float>(row), rows.real(tap)), total);
  }
  TRTFAST_BOTH static int value(Total total, float) { return clamped(rounded(total), 255); }
};

template <>
struct Math<Arithmetic::kLanczos> : WholeRow {
  using Total = int;
  TRTFAST_BOTH static void add_row(Total& total, const Taps& rows, int tap, Row row) {
    total += rows.whole(tap) * row;
  }
  TRTFAST_BOTH static int value(Total total, float) {
    return clamped((total + (1 << (2 * kBits - 1))) >> (2 * kBits), 255);
  }
};

template <>
struct Math<Arithmetic::kArea> {
  using Row = float;
  using Total = float;
  TRTFAST_BOTH static void add(Row& row, const Taps& columns, int tap, int pixel) {
    row = sum(row, product(static_cast<float>(pixel), columns.real(tap)));
  }
  TRTFAST_BOTH static float end(Row row) { return row; }
  TRTFAST_BOTH static void add_row(Total& total, const Taps& rows, int tap, Row row) {
    total = sum(total, product(rows.real(tap), row));
  }
  TRTFAST_BOTH static int value(Total total, float) { return clamped(rounded(total), 255); }
};

template <>
struct Math<Arithmetic::kBox> : WholeRow {
  using Total = int;
  TRTFAST_BOTH static void add_row(Total& total, const Taps&, int, Row row) { total += row; }
  /// @param share of one pixel; 0 where there are four, which OpenCV rounds half up.
  TRTFAST_BOTH static int value(Total total, float share) {
    if (share == 0) return (total + 2) >> 2;
    return clamped(rounded(product(static_cast<float>(total), share)), 255);
  }
};

template <>
struct Math<Arithmetic::kPillow> : WholeRow {
  using Total = int;
  TRTFAST_BOTH static int end(Row row) { return pillow_rounded(row); }
  TRTFAST_BOTH static void add_row(Total& total, const Taps& rows, int tap, Row row) {
    total += rows.whole(tap) * row;
  }
  TRTFAST_BOTH static int value(Total total, float) { return pillow_rounded(total); }
};

/// The tap that comes at a turn: OpenCV adds a cubic's rows from the last on.
template <Arithmetic arithmetic>
TRTFAST_BOTH inline int tap_at(int turn, int count) {
  return arithmetic == Arithmetic::kCubic ? count - 1 - turn : turn;
}

/// OpenCV's RGB to grey.
TRTFAST_BOTH inline int grey(int red, int green, int blue) {
  return (red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15;
}

}  // namespace trtfast::kernels
// NOLINTEND(bugprone-signed-bitwise,bugprone-implicit-widening-of-multiplication-result,cppcoreguidelines-init-variables,readability-avoid-nested-conditional-operator,readability-math-missing-parentheses,readability-named-parameter,hicpp-*)
