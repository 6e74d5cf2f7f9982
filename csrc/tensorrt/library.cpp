#include "tensorrt/library.h"

#include <dlfcn.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "error.h"
#include "tensorrt/log.h"

namespace trtfast::tensorrt {
namespace {

using CreateFunction = void* (*)(void* logger, std::int32_t version) noexcept;
using CreateParserFunction = void* (*)(void* network, void* logger, int version) noexcept;
using VersionFunction = std::int32_t (*)() noexcept;

// dlerror() alone says nothing about the file, and nothing at all where the symbol is missing.
std::string loader_error() {
  const char* text = dlerror();
  return text != nullptr ? text : "unknown loader error";
}

template <class Function>
Function symbol(void* handle, const char* name) noexcept {
  return reinterpret_cast<Function>(dlsym(handle, name));
}

// RTLD_LOCAL: the entry points of all TensorRTs have the same names.
void* open_forever(const std::filesystem::path& path) {
  // The loader has a lock of its own; this one lets the thread sanitizer see that a library's
  // initialisation comes before its use.
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

std::filesystem::path parser_path(const std::filesystem::path& core, const Abi& abi,
                                  Version version) {
  const std::string name = is_rtx(abi.generation())
                               ? "libtensorrt_onnxparser_rtx.so.1"
                               : "libnvonnxparser.so." + std::to_string(version.major());
  return core.has_parent_path() ? core.parent_path() / name : std::filesystem::path(name);
}

}  // namespace

std::shared_ptr<const Library> Library::open(const std::filesystem::path& core) {
  static std::mutex mutex;
  static auto* opened = new std::map<void*, std::shared_ptr<const Library>>;  // loaded for life
  // One that failed its self-test may have kept its logger's address, so it stays too.
  static auto* refused = new std::vector<std::shared_ptr<const Library>>;

  const std::scoped_lock lock(mutex);
  void* handle = open_forever(core);
  if (handle == nullptr) {
    throw TensorRTNotFoundError("cannot load " + loader_error());
  }
  if (const auto found = opened->find(handle); found != opened->end()) return found->second;

  const auto version = symbol<VersionFunction>(handle, "getInferLibVersion");
  if (version == nullptr) {
    throw TensorRTNotFoundError(core.string() + " is not TensorRT: it has no getInferLibVersion()");
  }
  // The version comes first: the library does not refuse a caller of another version, it crashes.
  std::shared_ptr<const Library> library(new Library(handle, core, Version{version()}));
  try {
    library->self_test();
  } catch (...) {
    refused->push_back(library);
    throw;
  }
  opened->emplace(handle, library);
  return library;
}

Library::Library(void* handle, std::filesystem::path path, Version version)
    : handle_(handle),
      path_(std::move(path)),
      version_(version),
      full_version_(version.str()),
      abi_(version),
      logger_(abi_.generation()) {
  if (const auto build = symbol<VersionFunction>(handle, "getInferLibBuildVersion")) {
    full_version_ += "." + std::to_string(build());
  }
}

Library::~Library() = default;

const char* Library::product() const noexcept {
  return is_rtx(abi_.generation()) ? "TensorRT-RTX" : "TensorRT";
}

void* Library::create_builder() const noexcept {
  const auto create = symbol<CreateFunction>(handle_, "createInferBuilder_INTERNAL");
  return create != nullptr ? create(logger_.object(), version_.number) : nullptr;
}

void* Library::create_runtime() const noexcept {
  const auto create = symbol<CreateFunction>(handle_, "createInferRuntime_INTERNAL");
  return create != nullptr ? create(logger_.object(), version_.number) : nullptr;
}

void* Library::create_parser(void* network) const {
  const auto path = parser_path(path_, abi_, version_);
  void* handle = open_forever(path);
  const auto create = handle != nullptr
                          ? symbol<CreateParserFunction>(handle, "createNvOnnxParser_INTERNAL")
                          : nullptr;
  if (create == nullptr) {
    throw TensorRTNotFoundError("cannot load TensorRT's ONNX parser, " + path.string() +
                                ", which should lie beside " + path_.string() + ": " +
                                loader_error());
  }
  const auto version = symbol<VersionFunction>(handle, "getNvOnnxParserVersion");
  return create(network, logger_.object(), version != nullptr ? version() : 0);
}

// Harmless calls whose answers are known: a wrong table shows here and not in a user's inference.
void Library::self_test() const {
  void* runtime = create_runtime();
  if (runtime == nullptr) {
    throw UnsupportedVersionError(std::string(product()) + " " + full_version_ + " in " +
                                  path_.string() + " gives no runtime");
  }
  void* implementation = implementation_of(runtime);
  constexpr std::int32_t kThreads = 3;  // not the default, which is 1
  const bool right = implementation != nullptr &&
                     abi_.call<method::VRuntime::getPImpl>(implementation) == runtime &&
                     abi_.call<method::VRuntime::getLogger>(implementation) == logger_.object() &&
                     abi_.call<method::VRuntime::setMaxThreads>(implementation, kThreads) &&
                     abi_.call<method::VRuntime::getMaxThreads>(implementation) == kThreads;
  delete_object(runtime);
  if (!right) {
    throw UnsupportedVersionError(std::string(product()) + " " + full_version_ + " in " +
                                  path_.string() + " does not answer as version " + version_.str() +
                                  " should: the file may be damaged or mislabelled. Reinstall it.");
  }
}

}  // namespace trtfast::tensorrt
