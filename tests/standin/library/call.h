// What every method of the stand-in begins with: is this one of our objects, of the right kind,
// alive, and used by one thread? And how it ends when not.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "recorder.h"

namespace standin {

[[nodiscard]] inline std::string quoted(const char* text) {
  return text != nullptr ? "'" + std::string(text) + "'" : "null";
}

/// One call of a method of an object of type T, which has a constant kKind.
template <class T>
class Call {
 public:
  Call(void* self, const char* method, const std::string& arguments = {}) : method_(method) {
    Recorder& recorder = Recorder::instance();
    recorder.call(method, arguments);
    if (!recorder.known(self)) {
      recorder.violation(std::string(method) + ": not an object of this library");
      return;
    }
    auto* object = static_cast<Object*>(self);
    if (!recorder.alive(self)) {
      report(*object, "the object was deleted");
      return;
    }
    if (object->kind != T::kKind) {
      report(*object, std::string("called on an ") + name(object->kind));
      return;
    }
    object_ = static_cast<T*>(object);
    if (object->users.fetch_add(1) > 0 && T::kOneThread) {
      static_cast<void>(violate("another call is under way in this object"));
    }
  }
  ~Call() {
    if (object_ != nullptr) object_->users.fetch_sub(1);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  explicit operator bool() const noexcept { return object_ != nullptr && !broken_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }

  /// The caller broke a rule: logged, kept, and the call fails.
  bool violate(const std::string& rule) {
    broken_ = true;
    report(*object_, rule);
    return false;
  }

  /// A failure that TensorRT documents, of a caller that did nothing wrong: logged.
  bool refuse(const std::string& reason) const {
    log(object_->logger, trtfast::tensorrt::Severity::kError, reason);
    return false;
  }

 private:
  void report(const Object& object, const std::string& rule) const {
    const std::string text = std::string(method_) + ": " + rule;
    Recorder::instance().violation(text);
    log(object.logger, trtfast::tensorrt::Severity::kError,
        "[stand-in] Error Code 3: API Usage Error (" + text + ")");
  }

  const char* method_;
  T* object_ = nullptr;
  bool broken_ = false;
};

/// Ends an object. What the user made from it must be gone; what it owns ends with it.
template <class T>
void delete_object(void* self) noexcept {
  Recorder& recorder = Recorder::instance();
  const std::string destructor = std::string("~") + name(T::kKind);
  Call<T> call(self, destructor.c_str());
  if (!call) return;
  if (const auto left = recorder.children_of(*call, false); !left.empty()) {
    call.violate("deleted while these, made from it, are alive: " + left);
  }
  call->dispose();
  recorder.remove_children(*call);
  recorder.remove(*call);
}

/// The deleting destructor of a public face.
template <class T>
void delete_face(void* face) noexcept {
  auto* object = static_cast<T*>(static_cast<Face*>(face)->implementation);
  delete_object<T>(object);
}

/// Gives an object its tables, of which that of its public face deletes it.
template <class T>
std::shared_ptr<T> own_object(std::shared_ptr<T> object, Object* parent, void* logger) {
  static const VTable table = T::make_table();
  static const VTable face = VTable().set_at(1, &delete_face<T>);
  object->table = table.data();
  object->kind = T::kKind;
  object->face = {face.data(), object.get()};
  object->parent = parent;
  object->logger = logger;
  Recorder::instance().add(object);
  return object;
}

template <class T>
std::shared_ptr<T> make_object(Object* parent, void* logger) {
  return own_object(std::make_shared<T>(), parent, logger);
}

}  // namespace standin
