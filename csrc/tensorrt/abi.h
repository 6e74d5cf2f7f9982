// TensorRT's binary interface, as a table: a row for each method that trtfast calls, a column for
// each ABI generation. No other file knows a slot, a generation's enum values, or a class layout.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "tensorrt/types.h"

namespace trtfast::tensorrt {

enum class Generation : std::uint8_t { kTrt10, kTrt11, kRtx14, kRtx15 };

/// A TensorRT release, as getInferLibVersion() counts: major * 10000 + minor * 100 + patch, and
/// major * 1000 before TensorRT 10.
struct Version {
  std::int32_t number;

  [[nodiscard]] int major() const noexcept { return is_old() ? number / 1000 : number / 10000; }
  [[nodiscard]] int minor() const noexcept { return number / 100 % (is_old() ? 10 : 100); }
  [[nodiscard]] int patch() const noexcept { return number % 100; }
  [[nodiscard]] std::string str() const;

 private:
  [[nodiscard]] bool is_old() const noexcept { return number < 10000; }
};

/// The generation of a release.
/// @throws UnsupportedVersionError for a release that trtfast does not drive.
[[nodiscard]] Generation generation_of(Version version);

/// "trt10", "trt11", "rtx14" or "rtx15".
[[nodiscard]] const char* name(Generation generation) noexcept;

/// True for TensorRT-RTX, whose plans, GPUs and callbacks differ from TensorRT's.
[[nodiscard]] bool is_rtx(Generation generation) noexcept;

/// True where no release as new as this one was tested; it is expected to work.
/// @throws UnsupportedVersionError for a release that trtfast does not drive.
[[nodiscard]] bool newer_than_tested(Version version);

/// What a generation or a release may lack. Code asks for it by name, never for a version.
enum class Capability : std::uint8_t {
  kKernelSpecialization,  // TensorRT-RTX compiles kernels for the shapes in use
  kRuntimeCache,          // and can keep them for the next start
  kComputeTargets,        // a build can name the compute capabilities that it is for
  kTimingCache,           // a build can use what earlier ones measured
  kStreamedPlan,          // a build can write the plan piece by piece
  kTf32Choice,            // a build can say whether float32 may be computed in TF32
};

namespace detail {

enum class Row : std::size_t {
#define TRTFAST_METHOD(cls, method, ...) cls##_##method,
#include "tensorrt/abi/methods.def"
#undef TRTFAST_METHOD
  kCount
};

template <class Signature>
struct MethodPointer;
template <class Result, class... Args>
struct MethodPointer<Result(Args...)> {
  // On the Itanium C++ ABI a virtual method is a function whose first argument is `this`; a large
  // struct returned by value gets its hidden pointer in either form alike.
  using type = Result (*)(void*, Args...) noexcept;
};

}  // namespace detail

// One type for each method, e.g. method::VBuilder::createNetworkV2: its row and its signature.
#define TRTFAST_METHOD(cls, name, ...)                            \
  namespace method::cls {                                         \
  struct name {                                                   \
    static constexpr detail::Row row = detail::Row::cls##_##name; \
    using Pointer = detail::MethodPointer<__VA_ARGS__>::type;     \
  };                                                              \
  }
#include "tensorrt/abi/methods.def"
#undef TRTFAST_METHOD

/// The column of the table that one loaded library needs.
class Abi {
 public:
  explicit Abi(Version version);

  [[nodiscard]] Generation generation() const noexcept { return generation_; }
  [[nodiscard]] bool has(Capability capability) const noexcept;

  template <class Method>
  [[nodiscard]] bool has() const noexcept {
    return slots_[static_cast<std::size_t>(Method::row)] >= 0;
  }

  /// Calls a method of an object, which is a V object or an abstract class's own object.
  template <class Method, class... Args>
  [[nodiscard]] auto call(const void* object, Args... args) const {
    const auto slot = slots_[static_cast<std::size_t>(Method::row)];
    if (slot < 0) fail_absent(Method::row);
    auto* const* vtable = *static_cast<void* const* const*>(object);
    auto function = reinterpret_cast<Method::Pointer>(vtable[slot]);
    return function(const_cast<void*>(object), args...);
  }

  /// createNetworkV2's flags for a strongly typed network.
  [[nodiscard]] std::uint32_t strongly_typed_flags() const noexcept;

 private:
  [[noreturn]] void fail_absent(detail::Row row) const;

  Version version_;
  Generation generation_;
  std::array<std::int16_t, static_cast<std::size_t>(detail::Row::kCount)> slots_{};
};

/// The V object behind a public object of TensorRT, which all its methods forward to.
[[nodiscard]] void* implementation_of(const void* object) noexcept;

/// Deletes a public object of TensorRT through its own deleting destructor.
void delete_object(void* object) noexcept;

}  // namespace trtfast::tensorrt
