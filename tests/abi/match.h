// Whether a signature of ours is the same call as TensorRT's: the types that stand for each other
// in it, and, of each such pair, the values of its enumerators and the layout of its fields.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "report.h"
#include "tensorrt/types.h"
#include "vtable.h"

namespace trtfast::tensorrt::probe {

/// A member function as a plain signature: `const` changes nothing in the call.
template <class Member>
struct Signature;
template <class R, class C, bool N, class... A>
struct Signature<R (C::*)(A...) noexcept(N)> {
  using type = R(A...);
  using Class = C;
  static constexpr std::size_t arguments = sizeof...(A);
  static constexpr bool nothrow = N;
};
template <class R, class C, bool N, class... A>
struct Signature<R (C::*)(A...) const noexcept(N)> : Signature<R (C::*)(A...) noexcept(N)> {};

/// A type of our signature stands for one of theirs.
template <class Ours, class Theirs>
constexpr bool stands_for() {
  using Target = std::remove_pointer_t<Theirs>;
  if constexpr (std::is_same_v<Ours, Theirs>) {
    return true;
  } else if constexpr (std::is_same_v<Ours, void*> || std::is_same_v<Ours, const void*>) {
    // An object's address, which a reference is too.
    if constexpr (std::is_lvalue_reference_v<Theirs>) {
      return std::is_class_v<std::remove_cvref_t<Theirs>>;
    } else {
      return std::is_pointer_v<Theirs> && (std::is_class_v<Target> || std::is_void_v<Target>);
    }
  } else if constexpr (std::is_lvalue_reference_v<Ours> && std::is_lvalue_reference_v<Theirs>) {
    return stands_for<std::remove_cvref_t<Ours>, std::remove_cvref_t<Theirs>>();
  } else if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) {
    using Pointee = std::remove_pointer_t<Ours>;
    return std::is_const_v<Pointee> == std::is_const_v<Target> &&
           stands_for<std::remove_cv_t<Pointee>, std::remove_cv_t<Target>>();
  } else if constexpr (std::is_enum_v<Theirs>) {
    using Value = std::underlying_type_t<Theirs>;
    if constexpr (std::is_enum_v<Ours>) return std::is_same_v<std::underlying_type_t<Ours>, Value>;
    return std::is_same_v<Ours, Value>;
  } else if constexpr (std::is_class_v<Ours> && std::is_class_v<Theirs>) {
    return sizeof(Ours) == sizeof(Theirs) && alignof(Ours) == alignof(Theirs) &&
           std::is_trivially_copyable_v<Ours> == std::is_trivially_copyable_v<Theirs>;
  } else {
    return false;
  }
}

template <class Ours>
struct Enumerators;  // names.inc
template <class Ours>
struct Layout;  // names.inc

/// The enumerators, or the fields, of two types that stand for each other; once for each pair.
template <class Ours, class Theirs>
void compare_types(Report& report) {
  static bool done = false;
  if (std::exchange(done, true)) return;
  using O = std::remove_cvref_t<Ours>;
  using T = std::remove_cvref_t<Theirs>;
  if constexpr (std::is_enum_v<O> && std::is_enum_v<T>) Enumerators<O>::template compare<T>(report);
  if constexpr (std::is_class_v<O> && std::is_class_v<T>) Layout<O>::template compare<T>(report);
}

template <class Ours, class Theirs>
struct SignatureMatch {
  static constexpr bool value = false;
  static void compare(Report& /*report*/) {}
};
template <class R, class... A, class S, class... B>
  requires(sizeof...(A) == sizeof...(B))
struct SignatureMatch<R(A...), S(B...)> {
  static constexpr bool value = stands_for<R, S>() && (stands_for<A, B>() && ...);
  static void compare(Report& report) {
    compare_types<R, S>(report);
    (compare_types<A, B>(report), ...);
  }
};

/// Compares one method: its slot, its signature, and the types in it.
template <class Ours, class Member>
void compare_method(Report& report, const std::string& what, int slot, Member member, int& count) {
  using Theirs = typename Signature<Member>::type;
  using Match = SignatureMatch<Ours, Theirs>;
  if (const int theirs = slot_of(member); slot != theirs) {
    report.difference(
        what, "ours slot " + std::to_string(slot) + ", theirs slot " + std::to_string(theirs));
  } else if (!Match::value) {
    report.difference(what, "ours " + type_name<Ours>() + ", theirs " + type_name<Theirs>());
  } else {
    ++count;
  }
  if (Match::value) Match::compare(report);
}

/// Room for a type that may have no default constructor.
template <class T>
struct Storage {
  alignas(T) std::byte bytes[sizeof(T)]{};
  [[nodiscard]] const T& get() const { return reinterpret_cast<const T&>(bytes); }
};

template <class Ours, class Theirs>
void compare_field(Report& report, const std::string& what, std::ptrdiff_t our_offset,
                   std::ptrdiff_t their_offset) {
  report.equal(what + ", offset", our_offset, their_offset, report.values);
  if (!stands_for<Ours, Theirs>()) {
    report.difference(what, "ours " + type_name<Ours>() + ", theirs " + type_name<Theirs>());
  }
  compare_types<Ours, Theirs>(report);
}

// For names.inc, in a function of `our` and `their` storage and of a reference to each field.
#define TRTFAST_FIELD(type, field)                                                             \
  compare_field<std::remove_cvref_t<decltype(our_##field)>,                                    \
                std::remove_cvref_t<decltype(their_##field)>>(                                 \
      report, #type "::" #field, reinterpret_cast<const std::byte*>(&our_##field) - our.bytes, \
      reinterpret_cast<const std::byte*>(&their_##field) - their.bytes);

template <class Ours, class Theirs>
void compare_enumerator(Report& report, const std::string& what, Ours ours, Theirs theirs) {
  report.equal(what + " and " + type_name<Theirs>(), static_cast<long long>(ours),
               static_cast<long long>(theirs), report.values);
}

/// @param count how many values of the enum the headers know, 0 where they do not tell.
template <class Theirs, class Ours>
void absent_enumerator(Report& report, const std::string& what, Ours ours, int count) {
  if (count > 0 && static_cast<int>(ours) >= count) {
    Report::note(what + " is newer than these headers");
  } else {
    report.difference(what, type_name<Theirs>() + " has no enumerator of this name");
  }
}

// For names.inc, in a template of T, their type. TensorRT writes kONE_LINE or kONELINE for our
// kOneLine.
#define TRTFAST_ENUMERATOR(type, ours, separated, joined)                                      \
  if constexpr (requires { T::separated; }) {                                                  \
    compare_enumerator(report, #type "::" #ours, type::ours, T::separated);                    \
  } else if constexpr (requires { T::joined; }) {                                              \
    compare_enumerator(report, #type "::" #ours, type::ours, T::joined);                       \
  } else {                                                                                     \
    absent_enumerator<T>(report, #type "::" #ours, type::ours, nvinfer1::their_enum_max<T>()); \
  }

}  // namespace trtfast::tensorrt::probe
