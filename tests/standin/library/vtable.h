// Vtables as arrays of function pointers, filled at the slots of this release's generation as the
// project's own table has them. A call to any other slot is reported and ends the process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tensorrt/abi.h"

namespace standin {

namespace method = trtfast::tensorrt::method;

using AnyFunction = void (*)();

inline constexpr std::size_t kSlots = 128;  // more than any table of TensorRT has

/// The slot of a method in this release, or -1.
[[nodiscard]] int slot_of(trtfast::tensorrt::detail::Row row) noexcept;

class VTable {
 public:
  VTable() noexcept;

  /// A function of another signature than methods.def has does not compile.
  template <class Method>
  VTable& set(typename Method::Pointer function) noexcept {
    const int slot = slot_of(Method::row);
    if (slot >= 0) set_at(static_cast<std::size_t>(slot), function);
    return *this;
  }

  template <class Result, class... Args>
  VTable& set_at(std::size_t slot, Result (*function)(Args...) noexcept) noexcept {
    slots_[slot] = reinterpret_cast<AnyFunction>(function);
    return *this;
  }

  [[nodiscard]] const AnyFunction* data() const noexcept { return slots_.data(); }

 private:
  std::array<AnyFunction, kSlots> slots_;
};

/// Calls a slot of an object of the caller's, whose shape is another than that of our objects.
template <class Result, class... Args>
Result call_slot(void* object, std::size_t slot, Args... args) noexcept {
  auto* const* table = *static_cast<void* const* const*>(object);
  return reinterpret_cast<Result (*)(void*, Args...) noexcept>(table[slot])(object, args...);
}

}  // namespace standin
