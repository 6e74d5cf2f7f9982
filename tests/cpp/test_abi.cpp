#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "error.h"
#include "support.h"
#include "tensorrt/abi.h"
#include "tensorrt/devices.h"

namespace trtfast::test {
namespace {

using namespace tensorrt::method;  // NOLINT(google-build-using-namespace): a table of names
using tensorrt::Abi;
using tensorrt::Capability;
using tensorrt::Generation;
using tensorrt::generation_of;
using tensorrt::Version;
using testing::HasSubstr;

constexpr Version kTrt10{101600};
constexpr Version kTrt11{110100};
constexpr Version kRtx14{10400};
constexpr Version kRtx15{10500};

TEST(Version, IsReadFromTheLibrarysNumber) {
  EXPECT_EQ(Version{101601}.str(), "10.16.1");
  EXPECT_EQ(Version{10500}.str(), "1.5.0");
  EXPECT_EQ(Version{8601}.str(), "8.6.1");  // majors counted by thousands before 10
  EXPECT_EQ(Version{9200}.str(), "9.2.0");
}

TEST(Generation, IsThatOfTheVersion) {
  constexpr std::pair<int, Generation> kKnown[] = {
      {100000, Generation::kTrt10}, {100700, Generation::kTrt10}, {100900, Generation::kTrt10},
      {101601, Generation::kTrt10}, {109900, Generation::kTrt10}, {110000, Generation::kTrt11},
      {110100, Generation::kTrt11}, {119900, Generation::kTrt11}, {10300, Generation::kRtx14},
      {10476, Generation::kRtx14},  {10500, Generation::kRtx15},  {10700, Generation::kRtx15},
      {19900, Generation::kRtx15}};
  for (const auto& [number, generation] : kKnown) {
    EXPECT_EQ(generation_of({number}), generation) << number;
  }
}

TEST(Generation, RefusesOtherVersions) {
  for (const int number : {0, -1, 8601, 9200, 10000, 10200, 20000, 100800, 100805, 120000}) {
    EXPECT_THROW(static_cast<void>(generation_of({number})), UnsupportedVersionError) << number;
  }
}

TEST(Generation, RefusalSaysWhatIsSupportedAndWhyNot10_8) {
  const auto refusal = [](int number) {
    return message_of<UnsupportedVersionError>(
        [number] { static_cast<void>(generation_of({number})); });
  };
  EXPECT_THAT(refusal(100800), HasSubstr("differs from every other 10.x"));
  EXPECT_THAT(refusal(120000), HasSubstr("TensorRT 12.0.0 is not supported."));
  EXPECT_THAT(refusal(8601), HasSubstr("TensorRT 8.6.1 is not supported."));
  EXPECT_THAT(refusal(8601), HasSubstr("10.9 to 10.16 and 11.x, and TensorRT-RTX 1.3 to 1.7"));
}

TEST(Generation, HasANameAndAFamily) {
  EXPECT_STREQ(name(Generation::kTrt10), "trt10");
  EXPECT_STREQ(name(Generation::kTrt11), "trt11");
  EXPECT_STREQ(name(Generation::kRtx14), "rtx14");
  EXPECT_STREQ(name(Generation::kRtx15), "rtx15");
  EXPECT_FALSE(is_rtx(Generation::kTrt10));
  EXPECT_FALSE(is_rtx(Generation::kTrt11));
  EXPECT_TRUE(is_rtx(Generation::kRtx14));
  EXPECT_TRUE(is_rtx(Generation::kRtx15));
}

TEST(Generation, WarnsOfMinorsNewerThanTheNewestTested) {
  for (const int number : {101700, 110200, 10800}) {
    EXPECT_TRUE(tensorrt::newer_than_tested({number})) << number;
  }
  for (const int number : {101600, 101699, 100000, 110199, 10476, 10799}) {
    EXPECT_FALSE(tensorrt::newer_than_tested({number})) << number;
  }
  EXPECT_THROW(static_cast<void>(tensorrt::newer_than_tested({120000})), UnsupportedVersionError);
}

TEST(Devices, AreThoseThatEachReleaseLists) {
  const std::pair<std::int32_t, const char*> lists[] = {
      {100000, "70, 75, 80, 86, 89, 90"},
      {100499, "70, 75, 80, 86, 89, 90"},
      {100500, "75, 80, 86, 89, 90"},
      {100701, "75, 80, 86, 89, 90"},
      {100900, "75, 80, 86, 89, 90, 100, 120"},
      {101300, "75, 80, 86, 89, 90, 100, 103, 120"},
      {110000, "75, 80, 86, 89, 90, 100, 103, 120"},
      {110100, "75, 80, 86, 89, 90, 100, 103, 120, 121"},
      {110500, "75, 80, 86, 89, 90, 100, 103, 120, 121"},
      {10300, "75, 80, 86, 89, 120"},
      {10499, "75, 80, 86, 89, 120"},
      {10500, "75, 80, 86, 89, 120, 121"},
      {10701, "75, 80, 86, 89, 120, 121"},
  };
  for (const auto& [version, list] : lists) {
    EXPECT_EQ(tensorrt::supported_list({version}), list) << version;
    std::string supported;
    for (int capability = 0; capability < 200; ++capability) {
      if (!tensorrt::supports({version}, capability)) continue;
      supported += (supported.empty() ? "" : ", ") + std::to_string(capability);
    }
    EXPECT_EQ(supported, list) << version;
  }
}

TEST(Abi, MethodsExistSinceTheirVersion) {
  for (const int number : {100000, 101000}) {
    const Abi abi({number});
    EXPECT_FALSE(abi.has<VCudaEngine::createRuntimeConfig>()) << number;
    EXPECT_FALSE(abi.has<VOptimizationProfile::setShapeValuesV2>()) << number;
    EXPECT_TRUE(abi.has<VOptimizationProfile::setShapeValues>()) << number;
  }
  for (const int number : {101100, 101600, 110000, 10300, 10500}) {
    const Abi abi({number});
    EXPECT_TRUE(abi.has<VCudaEngine::createRuntimeConfig>()) << number;
    EXPECT_TRUE(abi.has<VOptimizationProfile::setShapeValuesV2>()) << number;
  }
}

TEST(Abi, MethodsThatWereRemovedAreAbsent) {
  EXPECT_TRUE(Abi(kTrt10).has<VOptimizationProfile::setShapeValues>());
  EXPECT_FALSE(Abi(kTrt11).has<VOptimizationProfile::setShapeValues>());
  EXPECT_TRUE(Abi(kRtx14).has<VOptimizationProfile::setShapeValues>());
  EXPECT_FALSE(Abi(kRtx15).has<VOptimizationProfile::setShapeValues>());
}

TEST(Abi, CapabilitiesAreTensorRtRtxs) {
  for (const auto capability : {Capability::kKernelSpecialization, Capability::kRuntimeCache,
                                Capability::kComputeTargets}) {
    EXPECT_FALSE(Abi(kTrt10).has(capability));
    EXPECT_FALSE(Abi(kTrt11).has(capability));
    EXPECT_TRUE(Abi(kRtx14).has(capability));
    EXPECT_TRUE(Abi(kRtx15).has(capability));
  }
}

TEST(Abi, StronglyTypedFlagLostItsBitToNoOtherFlag) {
  EXPECT_EQ(Abi(kTrt10).strongly_typed_flags(), 2U);
  EXPECT_EQ(Abi(kTrt11).strongly_typed_flags(), 1U);
  EXPECT_EQ(Abi(kRtx14).strongly_typed_flags(), 2U);
  EXPECT_EQ(Abi(kRtx15).strongly_typed_flags(), 1U);
}

TEST(Abi, CallOfAnAbsentMethodNamesItAndTouchesNoObject) {
  const Abi abi({101000});
  const std::string message = message_of<UnsupportedVersionError>(
      [&] { static_cast<void>(abi.call<VCudaEngine::createRuntimeConfig>(nullptr)); });
  EXPECT_EQ(message, "TensorRT 10.10.0 has no VCudaEngine::createRuntimeConfig");
}

// A vtable whose every method returns its own slot.
template <std::int32_t slot>
std::int32_t own_slot(void* /*self*/) noexcept {
  return slot;
}

template <std::int32_t... slots>
auto* vtable_of(std::integer_sequence<std::int32_t, slots...> /*slots*/) {
  static const std::array<void*, sizeof...(slots)> table = {
      reinterpret_cast<void*>(&own_slot<slots>)...};
  return table.data();
}

struct SlotTeller {
  void* const* vtable = vtable_of(std::make_integer_sequence<std::int32_t, 64>());
};

TEST(Abi, CallGoesThroughTheGenerationsSlot) {
  const SlotTeller object;
  const auto slots = [&](Version version) {
    const Abi abi(version);
    return std::array{abi.call<VCudaEngine::getNbIOTensors>(&object),
                      abi.call<VCudaEngine::getNbOptimizationProfiles>(&object),
                      abi.call<VBuilderConfig::getBuilderOptimizationLevel>(&object),
                      abi.call<VNetworkDefinition::getNbLayers>(&object),
                      abi.call<IParser::getNbErrors>(&object)};
  };
  EXPECT_THAT(slots(kTrt10), testing::ElementsAre(30, 10, 48, 12, 5));
  EXPECT_THAT(slots(kTrt11), testing::ElementsAre(26, 8, 37, 12, 3));
  EXPECT_THAT(slots(kRtx14), testing::ElementsAre(28, 8, 37, 12, 5));
  EXPECT_THAT(slots(kRtx15), testing::ElementsAre(26, 8, 37, 12, 3));
}

// A tensor as TensorRT-RTX 1.5 lays it out, as far as getType.
class FakeTensor {
 public:
  virtual ~FakeTensor() = default;
  virtual void setName(const char* /*name*/) noexcept {}
  [[nodiscard]] virtual const char* getName() const noexcept { return "fake"; }
  virtual void setDimensions(const tensorrt::Dims& /*dims*/) noexcept {}
  [[nodiscard]] virtual tensorrt::Dims getDimensions() const noexcept { return {3, {7, -1, 9}}; }
  [[nodiscard]] virtual tensorrt::DataType getType() const noexcept {
    return tensorrt::DataType::kBf16;
  }
};

TEST(Abi, LargeStructsReturnThroughTheHiddenPointer) {
  const Abi abi(kRtx15);
  const FakeTensor tensor;
  const tensorrt::Dims dims = abi.call<VTensor::getDimensions>(&tensor);
  EXPECT_EQ(dims.nb, 3);
  EXPECT_EQ(dims.d[0], 7);
  EXPECT_EQ(dims.d[1], -1);
  EXPECT_EQ(dims.d[2], 9);
  EXPECT_STREQ(abi.call<VTensor::getName>(&tensor), "fake");
  EXPECT_EQ(abi.call<VTensor::getType>(&tensor), tensorrt::DataType::kBf16);
}

// A public object: its vptr, then what it forwards to.
class FakeObject {
 public:
  FakeObject(void* implementation, int& deleted)
      : implementation_(implementation), deleted_(&deleted) {}
  FakeObject(const FakeObject&) = delete;
  FakeObject& operator=(const FakeObject&) = delete;
  virtual ~FakeObject() { ++*deleted_; }
  [[nodiscard]] void* implementation() const noexcept { return implementation_; }

 private:
  void* implementation_;
  int* deleted_;
};

TEST(Abi, PublicObjectsForwardAndDeleteThemselves) {
  int deleted = 0;
  int implementation = 0;
  auto* object = new FakeObject(&implementation, deleted);
  EXPECT_EQ(tensorrt::implementation_of(object), object->implementation());
  tensorrt::delete_object(object);
  EXPECT_EQ(deleted, 1);
}

}  // namespace
}  // namespace trtfast::test
