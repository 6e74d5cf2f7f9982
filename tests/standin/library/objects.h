// The implementations behind the public objects. Which methods each has is in its make_table().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "model.h"
#include "recorder.h"

namespace standin {

using trtfast::tensorrt::ContextAllocation;
using trtfast::tensorrt::KernelSpecialization;

struct Builder : Object {
  static constexpr Kind kKind = Kind::kBuilder;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
};

struct Tensor : Object {
  static constexpr Kind kKind = Kind::kTensor;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
  TensorDef definition;
};

struct Layer : Object {
  static constexpr Kind kKind = Kind::kLayer;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
  Op op;
  std::vector<std::shared_ptr<Tensor>> inputs;  // null where an optional input is not there
  std::vector<std::shared_ptr<Tensor>> outputs;
};

struct Network : Object {
  static constexpr Kind kKind = Kind::kNetwork;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
  void fill(const Model& parsed);  // as the parser does
  Model model;
  Object* parser = nullptr;  // that holds the weights
  std::vector<std::shared_ptr<Tensor>> inputs;
  std::vector<std::shared_ptr<Layer>> layers;
};

struct Profile : Object {
  static constexpr Kind kKind = Kind::kProfile;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
  std::map<std::string, Range> dims;
  std::map<std::string, Range> values;
};

/// What builds measured on a GPU: the kinds of operations.
struct TimingCache : Object {
  static constexpr Kind kKind = Kind::kTimingCache;
  static constexpr bool kOneThread = false;
  static VTable make_table();
  void dispose() noexcept;
  int device = 0;
  std::set<std::string> measured;
  const Object* builder = nullptr;  // that uses it
};

/// Of a configuration: a timing cache from its bytes, of which there may be none; and its use.
void* create_timing_cache(void* self, const void* data, std::size_t size) noexcept;
bool set_timing_cache(void* self, const void* face, bool ignore_mismatch) noexcept;

struct Config : Object {
  static constexpr Kind kKind = Kind::kConfig;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
  std::vector<const Profile*> profiles;
  void* monitor = nullptr;
  TimingCache* timings = nullptr;
  std::int32_t level = 3;
  std::int32_t targets = 0;
};

struct HostMemory : Object {
  static constexpr Kind kKind = Kind::kHostMemory;
  static constexpr bool kOneThread = false;
  static VTable make_table();
  void dispose() noexcept {}
  std::string bytes;
};

struct Runtime : Object {
  static constexpr Kind kKind = Kind::kRuntime;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
  std::int32_t max_threads = 1;
};

struct Engine : Object {
  static constexpr Kind kKind = Kind::kEngine;
  static constexpr bool kOneThread = false;
  static VTable make_table();
  void dispose() noexcept;
  void narrow();  // the values of profiles, as releases before 10.11 tell them
  Model model;
  std::map<const Shape*, std::vector<std::int32_t>> narrow_values;
  int device = 0;
  void* weights = nullptr;  // device memory
};

struct RuntimeConfig : Object {
  static constexpr Kind kKind = Kind::kRuntimeConfig;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
  struct RuntimeCache* cache = nullptr;
  ContextAllocation allocation = ContextAllocation::kStatic;
  KernelSpecialization kernels = KernelSpecialization::kLazy;
};

/// The kernels that the contexts of a configuration compiled: here, how often one was made.
struct RuntimeCache : Object {
  static constexpr Kind kKind = Kind::kRuntimeCache;
  static constexpr bool kOneThread = false;
  static VTable make_table();
  void dispose() noexcept {}
  std::atomic<int> kernels = 0;
};

struct Inspector : Object {
  static constexpr Kind kKind = Kind::kInspector;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
  std::string text;
};

/// The object that this one was made from, where that is a T.
template <class T>
T& parent_of(const Object& object) noexcept {
  return *static_cast<T*>(object.parent);
}

/// What a context knows of one tensor.
struct Binding {
  Shape shape;
  bool has_shape = false;
  void* address = nullptr;
  void* allocator = nullptr;
  Shape values;  // of a shape tensor, as first read at this address
  bool has_values = false;
};

/// The memory of a context's activations: device memory of its own, unless the user manages it.
struct Activations {
  ContextAllocation strategy = ContextAllocation::kStatic;
  void* memory = nullptr;
  std::size_t size = 0;
};

/// Where in a stream some work ends.
struct Position {
  void* stream = nullptr;
  std::uint64_t at = 0;
  [[nodiscard]] bool reached() const noexcept;
  /// Whether what is added to a stream from now on runs after it.
  [[nodiscard]] bool before(void* next) const noexcept;
};

/// What a capture may not be the first to run with.
struct Arguments {
  int profile = 0;
  std::map<std::string, std::pair<Shape, void*>> tensors;  // shapes of inputs, and all addresses
  void* activations = nullptr;
  bool operator==(const Arguments&) const = default;
};

struct Context : Object {
  static constexpr Kind kKind = Kind::kContext;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept;
  [[nodiscard]] const Engine& engine() const noexcept { return parent_of<Engine>(*this); }
  [[nodiscard]] const Model& model() const noexcept { return engine().model; }
  [[nodiscard]] Arguments arguments() const;
  void forget_shapes();  // of dynamic inputs

  int profile = 0;
  std::map<std::string, Binding> bindings;
  Activations activations;
  KernelSpecialization kernels = KernelSpecialization::kLazy;
  Position last;                      // of the last enqueue, outside of captures
  Position profile_change;            // the last one
  std::optional<Arguments> ran_with;  // that enqueue, where it did not fail
  std::size_t enqueues = 0;
  void* profiler = nullptr;
  bool emits_profile = true;  // each enqueue, rather than reportToProfiler
  bool has_profile = false;   // of the last enqueue, not reported yet
};

/// Tells a context's profiler of its last run.
void report(Context& context) noexcept;

/// The implementation behind a public object that the user passes; null if it is no live T.
template <class T>
T* object_of(void* face) {
  if (face == nullptr) return nullptr;
  void* implementation = static_cast<Face*>(face)->implementation;
  if (!Recorder::instance().alive(implementation)) return nullptr;
  auto* object = static_cast<Object*>(implementation);
  return object->kind == T::kKind ? static_cast<T*>(object) : nullptr;
}

}  // namespace standin
