// A library that has nothing of TensorRT but its version, which FAKE_VERSION gives.
#include <cstdint>

extern "C" __attribute__((visibility("default"))) std::int32_t getInferLibVersion() {
  return FAKE_VERSION;
}
