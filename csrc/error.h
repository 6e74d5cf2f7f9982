// The exceptions of the core. Each has the name of the Python class that it becomes
// (python/trtfast/errors.py); kind() carries that name across the language boundary.
#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace trtfast {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  [[nodiscard]] virtual const char* kind() const noexcept { return "Error"; }
};

// NOLINTBEGIN(bugprone-macro-parentheses): the name of a class takes none
#define TRTFAST_DEFINE_ERROR(Name)                                             \
  class Name : public Error {                                                  \
   public:                                                                     \
    using Error::Error;                                                        \
    [[nodiscard]] const char* kind() const noexcept override { return #Name; } \
  }

TRTFAST_DEFINE_ERROR(TensorRTNotFoundError);
TRTFAST_DEFINE_ERROR(UnsupportedVersionError);
TRTFAST_DEFINE_ERROR(UnsupportedDeviceError);
TRTFAST_DEFINE_ERROR(EngineIncompatibleError);
TRTFAST_DEFINE_ERROR(InputError);
TRTFAST_DEFINE_ERROR(CudaError);
TRTFAST_DEFINE_ERROR(QueueFullError);
TRTFAST_DEFINE_ERROR(DeadlineExceededError);
TRTFAST_DEFINE_ERROR(ClosedError);

#undef TRTFAST_DEFINE_ERROR
// NOLINTEND(bugprone-macro-parentheses)

class BuildError : public Error {
 public:
  explicit BuildError(const std::string& message, std::string node = {})
      : Error(message), node_(std::move(node)) {}
  [[nodiscard]] const char* kind() const noexcept override { return "BuildError"; }
  /// The name of the ONNX node at fault; empty where TensorRT gave none.
  [[nodiscard]] const std::string& node() const noexcept { return node_; }

 private:
  std::string node_;
};

class OutOfMemoryError : public Error {
 public:
  OutOfMemoryError(const std::string& message, std::size_t requested,
                   std::optional<std::size_t> free)
      : Error(message), requested_(requested), free_(free) {}
  [[nodiscard]] const char* kind() const noexcept override { return "OutOfMemoryError"; }
  [[nodiscard]] std::size_t requested() const noexcept { return requested_; }
  [[nodiscard]] std::optional<std::size_t> free() const noexcept { return free_; }

 private:
  std::size_t requested_;
  std::optional<std::size_t> free_;
};

}  // namespace trtfast
