#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "engine/tensor.h"
#include "error.h"
#include "support.h"

namespace trtfast::test {
namespace {

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

TEST(Tensor, ShapesBecomeDimsAndBack) {
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{-1, 3}, Shape{1, 2, 3, 4, 5, 6, 7, 8}}) {
    const tensorrt::Dims dims = to_dims(shape);
    ASSERT_EQ(static_cast<std::size_t>(dims.nb), shape.size());
    EXPECT_EQ(to_shape(dims), shape);
  }
}

TEST(Tensor, NineDimensionsAreRefused) {
  const std::string message =
      message_of<InputError>([] { static_cast<void>(to_dims(Shape(9, 1))); });
  EXPECT_EQ(message,
            "shape (1, 1, 1, 1, 1, 1, 1, 1, 1) has 9 dimensions: TensorRT allows at most 8");
}

TEST(Tensor, DimsThatAreNoShapeAreRefused) {
  for (const std::int32_t count : {-1, 9}) {
    const tensorrt::Dims dims{count, {}};
    EXPECT_THROW(static_cast<void>(to_shape(dims)), Error) << count;
  }
}

TEST(Tensor, ShapesPrintAsPythonTuples) {
  EXPECT_EQ(str({}), "()");
  EXPECT_EQ(str({5}), "(5,)");
  EXPECT_EQ(str({-1, 3, 224}), "(-1, 3, 224)");
}

TEST(Tensor, OnlyNegativeSizesAreDynamic) {
  EXPECT_TRUE(is_dynamic({1, -1}));
  EXPECT_FALSE(is_dynamic({1, 0}));
  EXPECT_FALSE(is_dynamic({}));
}

TEST(Tensor, ByteSizeMultiplies) {
  EXPECT_EQ(byte_size({}, DataType::kInt64), 8U);
  EXPECT_EQ(byte_size({2, 3, 5}, DataType::kHalf), 60U);
  EXPECT_EQ(byte_size({7}, DataType::kBool), 7U);
  EXPECT_EQ(byte_size({4, 0, 3}, DataType::kFloat), 0U);
}

TEST(Tensor, ByteSizeRefusesWhatItCannotCount) {
  EXPECT_THROW(static_cast<void>(byte_size({2, -1}, DataType::kFloat)), InputError);
  EXPECT_THROW(static_cast<void>(byte_size({kHuge, 4}, DataType::kFloat)), InputError);
  EXPECT_THROW(static_cast<void>(byte_size({kHuge}, DataType::kInt64)), InputError);
  EXPECT_EQ(byte_size({kHuge}, DataType::kInt8), static_cast<std::size_t>(kHuge));
  EXPECT_EQ(byte_size({kHuge, kHuge, 0}, DataType::kFloat), 0U);  // NumPy allows such an array
}

TEST(Tensor, RangeContainsItsEndsAndNothingOutside) {
  const ShapeRange range{{1, 3}, {4, 3}, {8, 3}};
  for (const Shape& inside : {Shape{1, 3}, Shape{5, 3}, Shape{8, 3}}) {
    EXPECT_TRUE(range.contains(inside)) << str(inside);
  }
  for (const Shape& outside : {Shape{0, 3}, Shape{9, 3}, Shape{4, 2}, Shape{4}, Shape{4, 3, 1}}) {
    EXPECT_FALSE(range.contains(outside)) << str(outside);
  }
}

TEST(Tensor, RangeOfUnequalRanksContainsNothing) {
  const ShapeRange range{{1, 3}, {1, 3}, {8}};
  EXPECT_FALSE(range.contains({1, 3}));
}

TEST(DataTypes, HaveTheirNumPyNameAndSize) {
  EXPECT_STREQ(tensorrt::numpy_name(DataType::kHalf), "float16");
  EXPECT_STREQ(tensorrt::numpy_name(DataType::kBf16), "bfloat16");
  EXPECT_STREQ(tensorrt::numpy_name(DataType::kFp8), "float8_e4m3fn");
  EXPECT_STREQ(tensorrt::numpy_name(static_cast<DataType>(99)), "unknown");
  EXPECT_EQ(tensorrt::item_size(DataType::kBf16), 2U);
  EXPECT_EQ(tensorrt::item_size(DataType::kInt4), 0U);
  EXPECT_EQ(tensorrt::item_size(static_cast<DataType>(99)), 0U);
}

}  // namespace
}  // namespace trtfast::test
