// What NVTX loads in a profiler's place: it prints each range as it begins, indented by those that
// it is in, and the domain in front of the outermost.
#include <nvtx3/nvToolsExt.h>

#include <cstddef>
#include <cstdio>
#include <string>

namespace {

// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): of the ranges that are open
thread_local std::size_t depth = 0;

nvtxDomainHandle_t create(const char* name) {
  return reinterpret_cast<nvtxDomainHandle_t>(new std::string(name));  // for life
}

int push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t* attributes) {
  const std::string start = depth == 0 ? *reinterpret_cast<const std::string*>(domain) + ": "
                                       : std::string(2 * depth, ' ');
  std::fputs((start + attributes->message.ascii + "\n").c_str(), stdout);
  std::fflush(stdout);
  return static_cast<int>(depth++);
}

int pop(nvtxDomainHandle_t /*domain*/) { return static_cast<int>(--depth); }

}  // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t get) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(get(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable functions = nullptr;
  unsigned size = 0;
  if (callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &functions, &size) == 0) return 0;
  *functions[NVTX_CBID_CORE2_DomainCreateA] = reinterpret_cast<NvtxFunctionPointer>(&create);
  *functions[NVTX_CBID_CORE2_DomainRangePushEx] = reinterpret_cast<NvtxFunctionPointer>(&push);
  *functions[NVTX_CBID_CORE2_DomainRangePop] = reinterpret_cast<NvtxFunctionPointer>(&pop);
  return 1;
}
