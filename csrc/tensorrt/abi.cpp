#include "tensorrt/abi.h"

#include <array>

#include "error.h"

namespace trtfast::tensorrt {
namespace {

struct Slot {
  std::int16_t index;
  std::int32_t since;
};

constexpr std::size_t kGenerations = 4;

struct TableRow {
  const char* cls;
  const char* method;
  std::array<Slot, kGenerations> slots;
};

constexpr TableRow kTable[] = {
#define TRTFAST_SLOTS(cls, method, ...) {#cls, #method, {{__VA_ARGS__}}},
#include "tensorrt/abi/slots.inc"
#undef TRTFAST_SLOTS
};
static_assert(std::size(kTable) == static_cast<std::size_t>(detail::Row::kCount),
              "slots.inc is out of date: run csrc/tensorrt/abi/generate.py");

struct GenerationInfo {
  const char* name;
  bool rtx;
  Version newest_tested;
  // NetworkDefinitionCreationFlag::kSTRONGLY_TYPED is 1 where kEXPLICIT_BATCH still holds bit 0.
  std::uint32_t strongly_typed_bit;
};

constexpr std::array<GenerationInfo, kGenerations> kInfo = {{
    {"trt10", false, {101600}, 1},
    {"trt11", false, {110100}, 0},
    {"rtx14", true, {10400}, 1},
    {"rtx15", true, {10700}, 0},
}};

const GenerationInfo& info(Generation generation) noexcept {
  return kInfo[static_cast<std::size_t>(generation)];
}

constexpr const char* kSupported =
    "TensorRT 10.0 to 10.7, 10.9 to 10.16 and 11.x, and TensorRT-RTX 1.3 to 1.7";

}  // namespace

std::string Version::str() const {
  return std::to_string(major()) + "." + std::to_string(minor()) + "." + std::to_string(patch());
}

Generation generation_of(Version version) {
  const int major = version.major();
  const int minor = version.minor();
  if (major == 1 && minor >= 3) return minor <= 4 ? Generation::kRtx14 : Generation::kRtx15;
  if (major == 10 && minor != 8) return Generation::kTrt10;
  if (major == 11) return Generation::kTrt11;
  const bool odd_table = major == 10;  // 10.8: one vtable differs from every other 10's
  throw UnsupportedVersionError(
      "TensorRT " + version.str() + " is not supported" +
      (odd_table ? ", since its interface differs from every other 10.x" : "") +
      ". trtfast drives " + kSupported + ": install one of these.");
}

const char* name(Generation generation) noexcept { return info(generation).name; }

bool is_rtx(Generation generation) noexcept { return info(generation).rtx; }

bool newer_than_tested(Version version) {
  const auto tested = info(generation_of(version)).newest_tested;
  return version.number / 100 > tested.number / 100;
}

Abi::Abi(Version version) : version_(version), generation_(generation_of(version)) {
  for (std::size_t row = 0; row < slots_.size(); ++row) {
    const Slot slot = kTable[row].slots[static_cast<std::size_t>(generation_)];
    slots_[row] = version.number >= slot.since ? slot.index : std::int16_t{-1};
  }
}

bool Abi::has(Capability capability) const noexcept {
  switch (capability) {
    case Capability::kKernelSpecialization:
      return has<method::VRuntimeConfig::setDynamicShapesKernelSpecializationStrategy>();
    case Capability::kRuntimeCache: return has<method::VRuntimeCache::serialize>();
    case Capability::kComputeTargets: return has<method::VBuilderConfig::setComputeCapability>();
    // TensorRT-RTX has the methods for both, but measures nothing and would ask for a GPU, and
    // showed the same faults of TF32 with its flag and without.
    case Capability::kTimingCache:
    case Capability::kTf32Choice: return !is_rtx(generation_);
    case Capability::kStreamedPlan: return has<method::VBuilder::buildSerializedNetworkToStream>();
  }
  return false;
}

std::uint32_t Abi::strongly_typed_flags() const noexcept {
  return 1U << info(generation_).strongly_typed_bit;
}

void Abi::fail_absent(detail::Row row) const {
  const TableRow& entry = kTable[static_cast<std::size_t>(row)];
  throw UnsupportedVersionError(std::string("TensorRT ") + version_.str() + " has no " + entry.cls +
                                "::" + entry.method);
}

void* implementation_of(const void* object) noexcept {
  // A public class is {vptr, V object*} in every generation; where the V object lies varies.
  return static_cast<void* const*>(object)[1];
}

void delete_object(void* object) noexcept {
  constexpr std::size_t kDeletingDestructor = 1;
  auto* const* vtable = *static_cast<void* const* const*>(object);
  reinterpret_cast<void (*)(void*) noexcept>(vtable[kDeletingDestructor])(object);
}

}  // namespace trtfast::tensorrt
