#include "support.h"

#include <cstdlib>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string_view>

#include "cuda/device.h"
#include "onnx.h"

namespace trtfast::test {
namespace {

bool is_set(const char* variable) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): no test changes the environment
  const char* value = std::getenv(variable);
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace

std::filesystem::path tensorrt_path() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): no test changes the environment
  const char* value = std::getenv("TRTFAST_TENSORRT_PATH");
  if (value == nullptr || *value == '\0') {
    throw std::runtime_error("set TRTFAST_TENSORRT_PATH to TensorRT's library or its folder");
  }
  std::filesystem::path path = value;
  if (!std::filesystem::is_directory(path)) return path;
  for (const char* name : {"libtensorrt_rtx.so.1", "libnvinfer.so.11", "libnvinfer.so.10"}) {
    if (std::filesystem::exists(path / name)) return path / name;
  }
  throw std::runtime_error("TRTFAST_TENSORRT_PATH=" + path.string() + " holds no TensorRT");
}

std::shared_ptr<const tensorrt::Library> library() {
  return tensorrt::Library::open(tensorrt_path());
}

Built build_model(const std::string& model, const BuildOptions& options,
                  const tensorrt::ProgressFunction& progress) {
  Built built;
  const auto keep = [&](std::span<const std::byte> bytes) {
    built.plan.insert(built.plan.end(), bytes.begin(), bytes.end());
  };
  built.layers = build(library(), bytes_of(model), "", options, progress, keep).layers;
  return built;
}

bool has_gpu() { return !cuda::devices().list.empty(); }

bool requires_gpu() { return is_set("TRTFAST_REQUIRE_GPU"); }

bool allows_unsupported_gpu() { return is_set("TRTFAST_ALLOW_UNSUPPORTED_GPU"); }

}  // namespace trtfast::test
