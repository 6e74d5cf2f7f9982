// TensorRT's objects as typed handles. A handle that owns keeps its parent alive; a view is valid
// while the network it came from is.
#pragma once

#include <cstddef>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <utility>

#include "tensorrt/library.h"
#include "tensorrt/log.h"

namespace trtfast::tensorrt {

/// "IBuilder::createNetworkV2 failed (build.cpp:40): <what TensorRT logged>".
[[nodiscard]] std::string failure(const char* api, const ErrorScope& scope,
                                  const std::source_location& where);

/// @throws OutOfMemoryError if that is what TensorRT logged as the reason of a failure.
void throw_if_out_of_memory(const ErrorScope& scope);

/// Passes on what a call of TensorRT returned, unless that is false or null.
/// @throws OutOfMemoryError if memory was the reason, else Failure; with the API's name, the place,
///   and what TensorRT logged.
template <class Failure, class T>
T require(T value, const char* api, const ErrorScope& scope,
          const std::source_location& where = std::source_location::current()) {
  if (value) return value;
  throw_if_out_of_memory(scope);
  throw Failure(failure(api, scope, where));
}

/// Owns an object of TensorRT, and holds what must outlive it.
class Object {
 public:
  /// @param object not null.
  Object(std::shared_ptr<const Library> library, void* object,
         std::shared_ptr<const Object> parent = nullptr) noexcept
      : library_(std::move(library)), parent_(std::move(parent)), object_(object) {}
  Object(Object&& other) noexcept
      : library_(std::move(other.library_)),
        parent_(std::move(other.parent_)),
        object_(std::exchange(other.object_, nullptr)) {}
  Object(const Object&) = delete;  // one owner deletes the object
  Object& operator=(const Object&) = delete;
  Object& operator=(Object&&) = delete;
  ~Object() {
    if (object_ != nullptr) delete_object(object_);
  }

  [[nodiscard]] void* get() const noexcept { return object_; }
  [[nodiscard]] const std::shared_ptr<const Library>& library() const noexcept { return library_; }
  [[nodiscard]] const Abi& abi() const noexcept { return library_->abi(); }

  template <class Method, class... Args>
  [[nodiscard]] auto call(Args... args) const {
    return abi().template call<Method>(implementation_of(object_), args...);
  }

 private:
  std::shared_ptr<const Library> library_;
  std::shared_ptr<const Object> parent_;
  void* object_;
};

/// A name or a message that TensorRT returned; empty where it gave none.
[[nodiscard]] inline std::string text(const char* value) { return value != nullptr ? value : ""; }

/// An object that TensorRT owns.
class View {
 public:
  /// @throws Error if TensorRT returned no object.
  View(const Abi& abi, void* object);
  [[nodiscard]] void* get() const noexcept { return object_; }
  [[nodiscard]] const Abi& abi() const noexcept { return *abi_; }

  template <class Method, class... Args>
  [[nodiscard]] auto call(Args... args) const {
    return abi_->template call<Method>(implementation_of(object_), args...);
  }

 private:
  const Abi* abi_;
  void* object_;
};

/// The ONNX parser: an abstract class, so its own table holds its methods.
class Parser {
 public:
  /// @throws TensorRTNotFoundError if the parser's library is missing.
  explicit Parser(const Object& network);
  Parser(const Parser&) = delete;  // one owner deletes the object
  Parser& operator=(const Parser&) = delete;
  ~Parser();

  /// Parses a serialised model into the network. Weights outside the model are looked for beside
  /// `path`, which may be empty.
  /// @throws BuildError naming the ONNX node at fault.
  void parse(std::span<const std::byte> model, const std::string& path) const;

 private:
  std::shared_ptr<const Library> library_;
  void* object_;
};

/// The bytes of a plan, in memory of TensorRT's.
class HostMemory : public Object {
 public:
  using Object::Object;
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(call<method::VHostMemory::data>()),
            call<method::VHostMemory::size>()};
  }
};

}  // namespace trtfast::tensorrt
