// The C structures of DLPack 0.8, through which array libraries hand each other memory:
// https://dmlc.github.io/dlpack/latest/c_api.html
#pragma once

#include <cstdint>

namespace trtfast::dlpack {

inline constexpr const char* kCapsule = "dltensor";
inline constexpr std::int32_t kCuda = 2;  // kDLCUDA

enum class Code : std::uint8_t {
  kInt = 0,
  kUint = 1,
  kFloat = 2,
  kBfloat = 4,
  kBool = 6,
  kFloat8E4m3fn = 10,
};

struct Device {
  std::int32_t type;
  std::int32_t id;
};

struct DType {
  Code code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null where the tensor is contiguous
  std::uint64_t byte_offset;
};

struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};

}  // namespace trtfast::dlpack
