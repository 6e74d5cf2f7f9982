// The plain types of TensorRT's C++ API that are the same in every generation: their layout and
// their values are part of TensorRT's binary interface and must not change.
#pragma once

#include <cstdint>
#include <string>

namespace trtfast::tensorrt {

struct Dims {
  static constexpr std::int32_t kMax = 8;
  std::int32_t nb;
  std::int64_t d[kMax];
};
static_assert(sizeof(Dims) == 72 && alignof(Dims) == 8);

struct InterfaceInfo {
  const char* kind;
  std::int32_t major;
  std::int32_t minor;
};
static_assert(sizeof(InterfaceInfo) == 16);

enum class DataType : std::int32_t {
  kFloat = 0,
  kHalf = 1,
  kInt8 = 2,
  kInt32 = 3,
  kBool = 4,
  kUint8 = 5,
  kFp8 = 6,
  kBf16 = 7,
  kInt64 = 8,
  kInt4 = 9,
  kFp4 = 10,
  kE8m0 = 11,
};

enum class Severity : std::int32_t { kInternalError, kError, kWarning, kInfo, kVerbose };
enum class TensorIOMode : std::int32_t { kNone, kInput, kOutput };
enum class TensorLocation : std::int32_t { kDevice, kHost };
enum class ProfileSelector : std::int32_t { kMin, kOpt, kMax };
enum class BuilderFlag : std::int32_t { kTf32 = 6 };
enum class MemoryPool : std::int32_t { kWorkspace = 0 };
enum class ProfilingVerbosity : std::int32_t { kLayerNamesOnly, kNone, kDetailed };
enum class LayerInformationFormat : std::int32_t { kOneLine, kJson };
enum class ContextAllocation : std::int32_t { kStatic, kOnProfileChange, kUserManaged };
enum class KernelSpecialization : std::int32_t { kLazy = 0, kEager = 1, kNone = 2 };
enum class LayerType : std::int32_t {};

/// NumPy's name of a dtype ("bfloat16" and the float8 names are those of ml_dtypes).
[[nodiscard]] const char* numpy_name(DataType type) noexcept;

/// Bytes of one element; 0 for the types of 4 bits, which have no NumPy equal.
[[nodiscard]] std::size_t item_size(DataType type) noexcept;

}  // namespace trtfast::tensorrt
