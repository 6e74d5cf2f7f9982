// A recording stand-in for TensorRT's core library, for tests of trtfast on machines that have
// neither TensorRT nor a GPU.
//
// What it proves: that trtfast calls each generation's interfaces at the slots of its own table, in
// an order and with arguments that TensorRT's documented rules allow, that it deletes every object
// before what it came from, and that it turns every failure into the right error. What it does not
// prove: that the table is right (it is built from the same table; a test against NVIDIA's headers
// does that), that TensorRT itself behaves so, and anything about TensorRT's numbers or speed.
#include <cstdint>
#include <cstdio>
#include <utility>

#include "call.h"
#include "cuda.h"
#include "objects.h"
#include "release.h"

#define STANDIN_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using namespace standin;  // NOLINT(google-build-using-namespace): the entry points of theirs

bool may_create(const char* function, void* logger, std::int32_t version) {
  Recorder& recorder = Recorder::instance();
  recorder.call(function, std::to_string(version));
  if (version != kRelease.version.number) {
    recorder.violation(std::string(function) + ": the version is not this library's own");
  }
  if (logger == nullptr) recorder.violation(std::string(function) + ": the logger is null");
  return logger != nullptr;
}

// The text lives until it is asked again, by one thread at a time.
const char* kept(std::string text) {
  static auto* last = new std::string;
  *last = std::move(text);
  return last->c_str();
}

}  // namespace

STANDIN_EXPORT std::int32_t getInferLibVersion() noexcept { return kRelease.version.number; }
STANDIN_EXPORT std::int32_t getInferLibBuildVersion() noexcept { return kRelease.build; }

STANDIN_EXPORT void* createInferBuilder_INTERNAL(void* logger, std::int32_t version) noexcept {
  if (!may_create("createInferBuilder", logger, version)) return nullptr;
  // TensorRT builds on the GPU that it builds for; TensorRT-RTX needs none.
  if (!kRelease.rtx() && cuda().current_device() < 0) {
    log(logger, trtfast::tensorrt::Severity::kError,
        "[stand-in] Error Code 6: CUDA initialization failure with error: 100");
    return nullptr;
  }
  return &make_object<Builder>(nullptr, logger)->face;
}

STANDIN_EXPORT void* createInferRuntime_INTERNAL(void* logger, std::int32_t version) noexcept {
  if (!may_create("createInferRuntime", logger, version)) return nullptr;
  return &make_object<Runtime>(nullptr, logger)->face;
}

// What a test asks: texts of one entry a line.
STANDIN_EXPORT const char* standin_calls() noexcept { return kept(Recorder::instance().calls()); }
STANDIN_EXPORT const char* standin_violations() noexcept {
  return kept(Recorder::instance().violations());
}
STANDIN_EXPORT const char* standin_live_objects() noexcept {
  return kept(Recorder::instance().live_objects());
}
STANDIN_EXPORT std::size_t standin_count(const char* method) noexcept {
  return Recorder::instance().count(method);
}
STANDIN_EXPORT void standin_reset() noexcept { Recorder::instance().reset(); }
