#include "tensorrt/types.h"

namespace trtfast::tensorrt {

const char* numpy_name(DataType type) noexcept {
  switch (type) {
    case DataType::kFloat: return "float32";
    case DataType::kHalf: return "float16";
    case DataType::kInt8: return "int8";
    case DataType::kInt32: return "int32";
    case DataType::kBool: return "bool";
    case DataType::kUint8: return "uint8";
    case DataType::kFp8: return "float8_e4m3fn";
    case DataType::kBf16: return "bfloat16";
    case DataType::kInt64: return "int64";
    case DataType::kInt4: return "int4";
    case DataType::kFp4: return "float4_e2m1fn";
    case DataType::kE8m0: return "float8_e8m0fnu";
  }
  return "unknown";
}

std::size_t item_size(DataType type) noexcept {
  switch (type) {
    case DataType::kInt64: return 8;
    case DataType::kFloat:
    case DataType::kInt32: return 4;
    case DataType::kHalf:
    case DataType::kBf16: return 2;
    case DataType::kInt8:
    case DataType::kBool:
    case DataType::kUint8:
    case DataType::kFp8:
    case DataType::kE8m0: return 1;
    case DataType::kInt4:
    case DataType::kFp4: return 0;
  }
  return 0;
}

}  // namespace trtfast::tensorrt
