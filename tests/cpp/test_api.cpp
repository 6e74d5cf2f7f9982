#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "error.h"
#include "support.h"
#include "tensorrt/api.h"

namespace trtfast::test {
namespace {

using tensorrt::ErrorScope;
using tensorrt::require;

TEST(Require, PassesOnWhatIsThere) {
  const ErrorScope scope;
  int value = 0;
  EXPECT_EQ(require<Error>(&value, "IThing::get", scope), &value);
  EXPECT_TRUE(require<Error>(true, "IThing::set", scope));
}

TEST(Require, TellsTheApiThePlaceAndWhatTensorRtLogged) {
  const ErrorScope scope;
  ErrorScope::record("no kernel");
  const int line = __LINE__ + 2;
  const std::string message = message_of<BuildError>(
      [&] { static_cast<void>(require<BuildError>(false, "IThing::set", scope)); });
  EXPECT_EQ(message, "IThing::set failed (test_api.cpp:" + std::to_string(line) + "): no kernel");
}

TEST(Require, MakesOutOfMemoryItsOwnError) {
  const ErrorScope scope;
  ErrorScope::record("Error Code 2: OutOfMemory (Requested size was 173383040 bytes.)");
  void* nothing = nullptr;
  try {
    static_cast<void>(require<BuildError>(nothing, "IThing::get", scope));
    FAIL() << "nothing was thrown";
  } catch (const OutOfMemoryError& error) {
    EXPECT_EQ(error.requested(), 173383040U);
    EXPECT_EQ(error.free().has_value(), has_gpu());
    EXPECT_THAT(error.what(), testing::HasSubstr("173383040 bytes"));
  }
}

TEST(View, RefusesAnObjectThatIsNotThere) {
  const tensorrt::Abi abi({10500});
  EXPECT_THROW(tensorrt::View(abi, nullptr), Error);
}

TEST(Text, IsEmptyWhereTensorRtGivesNone) {
  EXPECT_EQ(tensorrt::text(nullptr), "");
  EXPECT_EQ(tensorrt::text("node"), "node");
}

TEST(Errors, CarryTheNameOfTheirPythonClass) {
  EXPECT_STREQ(Error("").kind(), "Error");
  EXPECT_STREQ(TensorRTNotFoundError("").kind(), "TensorRTNotFoundError");
  EXPECT_STREQ(UnsupportedVersionError("").kind(), "UnsupportedVersionError");
  EXPECT_STREQ(UnsupportedDeviceError("").kind(), "UnsupportedDeviceError");
  EXPECT_STREQ(EngineIncompatibleError("").kind(), "EngineIncompatibleError");
  EXPECT_STREQ(InputError("").kind(), "InputError");
  EXPECT_STREQ(CudaError("").kind(), "CudaError");
  EXPECT_STREQ(ClosedError("").kind(), "ClosedError");
  EXPECT_STREQ(BuildError("", "node").kind(), "BuildError");
  EXPECT_EQ(BuildError("", "node").node(), "node");
  EXPECT_STREQ(OutOfMemoryError("", 1, std::nullopt).kind(), "OutOfMemoryError");
}

}  // namespace
}  // namespace trtfast::test
