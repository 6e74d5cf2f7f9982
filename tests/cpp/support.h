// What the tests share: the TensorRT under test, and whether there is a GPU.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/build.h"
#include "tensorrt/library.h"

namespace trtfast::test {

/// The path of TRTFAST_TENSORRT_PATH, which names the library or its folder.
/// @throws std::runtime_error if it is not set or holds no TensorRT.
[[nodiscard]] std::filesystem::path tensorrt_path();

/// The TensorRT under test.
[[nodiscard]] std::shared_ptr<const tensorrt::Library> library();

struct Built {
  std::vector<std::byte> plan;
  std::vector<LayerInfo> layers;
};

/// Builds a serialised ONNX model with it.
[[nodiscard]] Built build_model(const std::string& model, const BuildOptions& options = {},
                                const tensorrt::ProgressFunction& progress = {});

[[nodiscard]] bool has_gpu();

/// True where TRTFAST_REQUIRE_GPU=1: tests that need a GPU then fail without one.
[[nodiscard]] bool requires_gpu();

/// True where TRTFAST_ALLOW_UNSUPPORTED_GPU=1, as the Python package reads it.
[[nodiscard]] bool allows_unsupported_gpu();

/// The message of the Exception that a function throws. The test fails if it throws none.
template <class Exception>
std::string message_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const Exception& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace trtfast::test

/// Skips a test where there is no GPU, unless one is required.
#define TRTFAST_NEEDS_GPU()                                           \
  if (!::trtfast::test::has_gpu()) {                                  \
    if (::trtfast::test::requires_gpu()) FAIL() << "there is no GPU"; \
    GTEST_SKIP() << "there is no GPU";                                \
  }                                                                   \
  static_assert(true, "wants a semicolon")
