// Ranges on a profiler's timeline, through NVTX: its calls do nothing until a profiler, as Nsight
// Systems, has started this process.
#pragma once

#include <nvtx3/nvToolsExt.h>

#include <string>

namespace trtfast::cuda {

/// A range in the domain "trtfast", and in it parts that follow each other. All on one thread.
class Trace {
 public:
  Trace() = default;  // none

  /// @param name empty for no range.
  explicit Trace(const std::string& name) : on_(!name.empty()) {
    if (on_) push(name.c_str());
  }
  Trace(const Trace&) = delete;  // ends once
  Trace& operator=(const Trace&) = delete;
  ~Trace() {
    if (in_part_) pop();
    if (on_) pop();
  }

  /// Ends the part before, and begins one.
  void part(const char* name) {
    if (!on_) return;
    if (in_part_) pop();
    in_part_ = true;
    push(name);
  }

 private:
  static nvtxDomainHandle_t domain() {
    static auto* const domain = nvtxDomainCreateA("trtfast");  // for life: any thread may use it
    return domain;
  }
  static void push(const char* name) {
    nvtxEventAttributes_t attributes{};
    attributes.version = NVTX_VERSION;
    attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
    attributes.message.ascii =
        name;  // NOLINT(cppcoreguidelines-pro-type-union-access): as C has it
    nvtxDomainRangePushEx(domain(), &attributes);
  }
  static void pop() { nvtxDomainRangePop(domain()); }

  bool on_ = false;
  bool in_part_ = false;
};

}  // namespace trtfast::cuda
