#include "vtable.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "release.h"

namespace standin {
namespace {

using trtfast::tensorrt::Generation;

struct Slot {
  int index;
  int since;
};

constexpr Slot kTable[][4] = {
#define TRTFAST_SLOTS(cls, method, ...) {__VA_ARGS__},
#include "tensorrt/abi/slots.inc"
#undef TRTFAST_SLOTS
};

// In a mislabelled library the core's self-test is meant to reach wrong slots; there, as in a real
// library, it finds some other method, whose answer is not the one that was looked for.
template <std::size_t Index>
void* unexpected() noexcept {
  if (kRelease.mislabelled()) return nullptr;
  const std::string text = "stand-in " + std::to_string(kRelease.version.number) +
                           ": unexpected call of slot " + std::to_string(Index) + "\n";
  std::fputs(text.c_str(), stderr);
  std::abort();
}

template <std::size_t... Index>
constexpr std::array<AnyFunction, kSlots> all_unexpected(std::index_sequence<Index...>) noexcept {
  return {reinterpret_cast<AnyFunction>(&unexpected<Index>)...};
}

}  // namespace

Generation Release::generation() const noexcept {
  if (rtx()) return layout.minor() <= 4 ? Generation::kRtx14 : Generation::kRtx15;
  return layout.major() == 10 ? Generation::kTrt10 : Generation::kTrt11;
}

bool Release::modern() const noexcept {
  return generation() == Generation::kTrt11 || generation() == Generation::kRtx15;
}

int slot_of(trtfast::tensorrt::detail::Row row) noexcept {
  const auto column = static_cast<std::size_t>(kRelease.generation());
  const Slot slot = kTable[static_cast<std::size_t>(row)][column];
  return kRelease.layout.number >= slot.since ? slot.index : -1;
}

VTable::VTable() noexcept : slots_(all_unexpected(std::make_index_sequence<kSlots>())) {}

}  // namespace standin
