#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "error.h"
#include "support.h"
#include "tensorrt/library.h"

namespace trtfast::test {
namespace {

using tensorrt::Library;
using testing::HasSubstr;
using testing::StartsWith;

template <class Exception>
std::string refusal_of(const std::filesystem::path& path) {
  return message_of<Exception>([&] { static_cast<void>(Library::open(path)); });
}

TEST(Library, KnowsItsVersionAndProduct) {
  const auto opened = library();
  EXPECT_EQ(opened->path(), tensorrt_path());
  EXPECT_THAT(opened->full_version(), StartsWith(opened->version().str()));
  EXPECT_EQ(opened->abi().generation(), generation_of(opened->version()));
  const bool rtx = tensorrt_path().filename().string().starts_with("libtensorrt_rtx");
  EXPECT_STREQ(opened->product(), rtx ? "TensorRT-RTX" : "TensorRT");
}

TEST(Library, IsTheSameObjectWhenOpenedTwice) {
  const auto first = library();
  EXPECT_EQ(Library::open(tensorrt_path()), first);
  const auto roundabout = tensorrt_path().parent_path() / "." / tensorrt_path().filename();
  EXPECT_EQ(Library::open(roundabout), first);
}

TEST(Library, IsOpenedOnceByManyThreads) {
  std::array<std::shared_ptr<const Library>, 4> opened;
  {
    std::vector<std::jthread> threads;
    threads.reserve(opened.size());
    for (auto& one : opened) threads.emplace_back([&one] { one = library(); });
  }
  for (const auto& one : opened) EXPECT_EQ(one, library());
}

TEST(Library, GivesABuilderAndARuntime) {
  const auto opened = library();
  void* builder = opened->create_builder();
  ASSERT_NE(builder, nullptr);
  tensorrt::delete_object(builder);
  void* runtime = opened->create_runtime();
  ASSERT_NE(runtime, nullptr);
  tensorrt::delete_object(runtime);
}

TEST(Library, MissingFileIsNotFound) {
  EXPECT_THAT(refusal_of<TensorRTNotFoundError>("/nowhere/libnvinfer.so.10"),
              HasSubstr("/nowhere/libnvinfer.so.10"));
}

TEST(Library, OtherLibraryIsNoTensorRt) {
  for (int attempt = 0; attempt < 2; ++attempt) {  // it stays loaded, and stays refused
    EXPECT_EQ(refusal_of<TensorRTNotFoundError>("libm.so.6"),
              "libm.so.6 is not TensorRT: it has no getInferLibVersion()");
  }
}

TEST(Library, OtherVersionsAreRefusedBeforeAnythingIsCreated) {
  EXPECT_THAT(refusal_of<UnsupportedVersionError>(FAKE_TENSORRT_12), HasSubstr("12.0.0"));
  EXPECT_THAT(refusal_of<UnsupportedVersionError>(FAKE_TENSORRT_10_8), HasSubstr("10.8.0"));
}

}  // namespace
}  // namespace trtfast::test
