#include "fixture.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdlib>

#include "cuda/device.h"
#include "cuda/junction.h"
#include "cuda/pool.h"
#include "fake_cuda.h"

namespace standin_test {
namespace {

/// What the core makes once for each GPU, and keeps until the process ends.
class Kept final : public testing::Environment {
 public:
  void SetUp() override {
    if (std::getenv(kUnused) != nullptr) return;
    for (const int device : {0, 1}) {
      const trtfast::cuda::DeviceGuard guard(device);
      const trtfast::cuda::PooledMemory pooled(device, 1, nullptr);
      static_cast<void>(trtfast::cuda::Junction::of(device));
    }
    fake_cuda::keep();
  }
};

// NOLINTNEXTLINE(bugprone-throwing-static-initialization): as GoogleTest has it
const auto* const kKept = testing::AddGlobalTestEnvironment(new Kept);

}  // namespace

const std::vector<Release>& releases() {
  static const std::vector<Release> all = {
      {"10.0", "libnvinfer.so.10", "10.0.0.77", "trt10"},
      {"10.10", "libnvinfer.so.10", "10.10.0.77", "trt10"},
      {"10.16", "libnvinfer.so.10", "10.16.0.77", "trt10"},
      {"11.0", "libnvinfer.so.11", "11.0.0.77", "trt11"},
      {"11.1", "libnvinfer.so.11", "11.1.0.77", "trt11"},
      {"rtx1.3", "libtensorrt_rtx.so.1", "1.3.0.77", "rtx14"},
      {"rtx1.4", "libtensorrt_rtx.so.1", "1.4.0.77", "rtx14"},
      {"rtx1.5", "libtensorrt_rtx.so.1", "1.5.0.77", "rtx15"},
      {"rtx1.7", "libtensorrt_rtx.so.1", "1.7.0.77", "rtx15"},
  };
  return all;
}

std::string path_of(const char* folder, const char* core) {
  return std::string(STANDIN_DIR) + "/" + folder + "/" + core;
}

Recording::Recording(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  const auto find = [handle]<class Function>(const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(handle, name));
  };
  find("standin_calls", calls_);
  find("standin_violations", violations_);
  find("standin_live_objects", live_objects_);
  find("standin_count", count_);
  find("standin_reset", reset_);
}

void StandinTest::SetUp() {
  fake_cuda::reset();
  const std::string path = path_of(GetParam().folder, GetParam().core);
  library_ = trtfast::tensorrt::Library::open(path);
  recording_ = std::make_unique<Recording>(path);
  recording_->forget();
}

void StandinTest::TearDown() {
  EXPECT_EQ(recording_->violations(), "");
  EXPECT_EQ(recording_->live_objects(), "");
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "an error was handled, but not cleared";
  int device = -1;
  EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(device, 0) << "the caller's GPU is no more the current one";
  fake_cuda::set_devices(2);
  for (const int gpu : {1, 0}) {  // memory that is freed in the order of streams
    EXPECT_EQ(cudaSetDevice(gpu), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }
  EXPECT_EQ(fake_cuda::faults(), "");
  EXPECT_EQ(fake_cuda::leaks(), "");
  fake_cuda::reset();
}

bool StandinTest::is_rtx() const { return trtfast::tensorrt::is_rtx(library_->abi().generation()); }

std::vector<std::byte> StandinTest::build(const std::string& model,
                                          const std::vector<trtfast::Profile>& profiles) {
  trtfast::BuildOptions options;
  options.profiles = profiles;
  return plan_of(library_, model, options);
}

std::unique_ptr<trtfast::Engine> StandinTest::load(std::span<const std::byte> plan, int lanes,
                                                   int device) {
  trtfast::EngineOptions options;
  options.lanes = lanes;
  options.device = device;
  return load(plan, options);
}

std::unique_ptr<trtfast::Engine> StandinTest::load(std::span<const std::byte> plan,
                                                   const trtfast::EngineOptions& options) const {
  return std::make_unique<trtfast::Engine>(library_, plan, options);
}

std::vector<std::byte> plan_of(const std::shared_ptr<const trtfast::tensorrt::Library>& library,
                               const std::string& model, const trtfast::BuildOptions& options) {
  std::vector<std::byte> plan;
  static_cast<void>(trtfast::build(
      library, bytes_of(model), "", options, [](const auto&) { return true; },
      [&](std::span<const std::byte> bytes) {
        plan.insert(plan.end(), bytes.begin(), bytes.end());
      }));
  return plan;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

trtfast::Profile profile(const std::string& input, const trtfast::Shape& min,
                         const trtfast::Shape& opt, const trtfast::Shape& max) {
  return {{input, {min, opt, max}}};
}

Values run(trtfast::Engine& engine, const Values& input, const trtfast::Shape& shape) {
  const std::vector inputs = {view(input, shape)};
  return values_of(engine.infer({inputs}).front());
}

}  // namespace standin_test
