// Where a virtual method and a destructor stand in a vtable, asked of the compiler: of the first
// by its pointer to member, of the second by destroying an object that has a recording vtable.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace trtfast::tensorrt::probe {

/// True for a class that the headers define; a stand-in of names.inc stays incomplete.
template <class T>
concept Complete = requires { sizeof(T); };

/// The slot of a virtual method, or -1 where it is none.
template <class Member>
int slot_of(Member member) {
  struct {
    std::uintptr_t pointer;
    std::uintptr_t adjustment;
  } raw{};
  static_assert(sizeof raw == sizeof member, "not the Itanium C++ ABI");
  std::memcpy(&raw, &member, sizeof raw);
  // "Virtual" is bit 0 of the pointer, or of the adjustment where code may have odd addresses. Any
  // other adjustment is a second base, whose vtable is not the first.
  const bool is_virtual = ((raw.pointer | raw.adjustment) & 1U) != 0;
  if (!is_virtual || (raw.adjustment & ~std::uintptr_t{1}) != 0) return -1;
  return static_cast<int>(raw.pointer / sizeof(void*));
}

inline int called_slot = -1;

template <int Slot>
void record(void*) noexcept {
  called_slot = Slot;
}

using RecordingTable = std::array<void (*)(void*) noexcept, 128>;
template <int... Slot>
constexpr RecordingTable recording_table(std::integer_sequence<int, Slot...>) {
  return {&record<Slot>...};
}
inline constexpr RecordingTable kRecordingTable =
    recording_table(std::make_integer_sequence<int, 128>());

/// An object of no class, in whose vtable every method records its slot.
struct Recorder {
  const void* vptr = kRecordingTable.data();
  std::array<void*, 7> words{};
};

template <class Action>
int recorded(Action action) {
  static Recorder recorder;
  // Through volatile, so that the compiler cannot know what the object is.
  void* volatile object = &recorder;
  called_slot = -1;
  action(static_cast<void*>(object));
  return called_slot;
}

template <class T>
int complete_destructor_slot() {
  return recorded([](void* object) { static_cast<T*>(object)->~T(); });
}

template <class T>
int deleting_destructor_slot() {
  return recorded([](void* object) { delete static_cast<T*>(object); });
}

/// Entries of a class's vtable: a class derived from it puts its own first method behind them.
template <class T>
struct Extended : T {
  virtual void behind() noexcept;
};
template <class T>
int slot_count() {
  return slot_of(&Extended<T>::behind);
}

/// What to ask of a member by its name, which a template cannot take as an argument: `in` tells
/// whether a class has it, overloaded or not; `of` is the one overload of as many arguments, or
/// nullptr; `sole` is the member of a class that does not overload it.
#define TRTFAST_MEMBER(name)                                                \
  struct Decoy {                                                            \
    int name;                                                               \
  };                                                                        \
  template <class T>                                                        \
  struct Joined : T, Decoy {};                                              \
  /* A class that inherits the name twice cannot say which is meant. */     \
  template <class T>                                                        \
  static constexpr bool in = !requires { &Joined<T>::name; };               \
  template <class T, std::size_t Arguments>                                 \
  static constexpr auto of() {                                              \
    if constexpr (requires { WithArguments<Arguments>::pick(&T::name); }) { \
      return WithArguments<Arguments>::pick(&T::name);                      \
    } else {                                                                \
      return nullptr;                                                       \
    }                                                                       \
  }                                                                         \
  template <class T>                                                        \
  static constexpr auto sole() {                                            \
    return &T::name;                                                        \
  }

template <std::size_t Count>
struct WithArguments;

#define TRTFAST_WITH_ARGUMENTS(count, types, ...)                               \
  template <>                                                                   \
  struct WithArguments<count> {                                                 \
    template <class R, class C, bool N TRTFAST_UNPACK types>                    \
    static constexpr auto pick(R (C::*member)(__VA_ARGS__) noexcept(N)) {       \
      return member;                                                            \
    }                                                                           \
    template <class R, class C, bool N TRTFAST_UNPACK types>                    \
    static constexpr auto pick(R (C::*member)(__VA_ARGS__) const noexcept(N)) { \
      return member;                                                            \
    }                                                                           \
  };
#define TRTFAST_UNPACK(...) __VA_OPT__(, ) __VA_ARGS__
TRTFAST_WITH_ARGUMENTS(0, ())
TRTFAST_WITH_ARGUMENTS(1, (class A), A)
TRTFAST_WITH_ARGUMENTS(2, (class A, class B), A, B)
TRTFAST_WITH_ARGUMENTS(3, (class A, class B, class D), A, B, D)
TRTFAST_WITH_ARGUMENTS(4, (class A, class B, class D, class E), A, B, D, E)
TRTFAST_WITH_ARGUMENTS(5, (class A, class B, class D, class E, class F), A, B, D, E, F)
TRTFAST_WITH_ARGUMENTS(6, (class A, class B, class D, class E, class F, class G), A, B, D, E, F, G)
#undef TRTFAST_UNPACK
#undef TRTFAST_WITH_ARGUMENTS

}  // namespace trtfast::tensorrt::probe
