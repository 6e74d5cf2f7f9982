// One loaded TensorRT: found on disk by the caller, opened, its version read, its table chosen.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "tensorrt/abi.h"
#include "tensorrt/callbacks.h"

namespace trtfast::tensorrt {

class Library {
 public:
  /// Opens libnvinfer.so.* or libtensorrt_rtx.so.1. A library is opened once and stays loaded until
  /// the process ends, since TensorRT does not survive being unloaded.
  /// @param core its path, or a bare file name for the system's loader to find.
  /// @throws TensorRTNotFoundError if it cannot be loaded, or is no TensorRT.
  /// @throws UnsupportedVersionError if its version is not one that trtfast drives, or if it does
  ///   not answer as its version should.
  static std::shared_ptr<const Library> open(const std::filesystem::path& core);

  Library(const Library&) = delete;  // TensorRT keeps the logger's address
  Library& operator=(const Library&) = delete;
  ~Library();

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] Version version() const noexcept { return version_; }
  /// With the build number where the library tells it, as in "1.5.0.114".
  [[nodiscard]] const std::string& full_version() const noexcept { return full_version_; }
  /// "TensorRT" or "TensorRT-RTX".
  [[nodiscard]] const char* product() const noexcept;
  [[nodiscard]] const Abi& abi() const noexcept { return abi_; }

  /// TensorRT's entry points. Each returns a new object that the caller owns, or nullptr.
  [[nodiscard]] void* create_builder() const noexcept;
  [[nodiscard]] void* create_runtime() const noexcept;
  /// @throws TensorRTNotFoundError if the ONNX parser's library is missing.
  [[nodiscard]] void* create_parser(void* network) const;

 private:
  Library(void* handle, std::filesystem::path path, Version version);
  void self_test() const;

  void* handle_;
  std::filesystem::path path_;
  Version version_;
  std::string full_version_;
  Abi abi_;
  Logger logger_;
};

}  // namespace trtfast::tensorrt
