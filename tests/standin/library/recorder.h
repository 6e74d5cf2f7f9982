// What happened in one stand-in library: the calls, the broken rules, and the objects alive.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "tensorrt/types.h"
#include "vtable.h"

namespace standin {

class Recorder;

/// What TensorRT's user holds: {vptr, implementation}.
struct Face {
  const AnyFunction* table;
  void* implementation;
};

enum class Kind : std::uint8_t {
  kBuilder,
  kNetwork,
  kConfig,
  kProfile,
  kTensor,
  kLayer,
  kParser,
  kParserError,
  kHostMemory,
  kTimingCache,
  kRuntime,
  kEngine,
  kRuntimeConfig,
  kRuntimeCache,
  kInspector,
  kContext,
};

/// The base of all implementations. Not polymorphic: its first member is the hand-made table.
struct Object {
  static constexpr std::uint64_t kAlive = 0x416c697665544eULL;

  const AnyFunction* table = nullptr;
  std::uint64_t magic = kAlive;
  Kind kind{};
  Face face{};
  Object* parent = nullptr;  // what must outlive it
  void* logger = nullptr;
  Recorder* recorder = nullptr;
  std::atomic<int> users = 0;  // threads inside one of its methods
};

[[nodiscard]] const char* name(Kind kind) noexcept;

/// Thread-safe. Deleted objects stay in memory for good, so that their use can be reported.
class Recorder {
 public:
  /// The recorder of this core library; in a parser's library, that of the network in use.
  static Recorder& instance() noexcept;
  static void use(Recorder& other) noexcept;

  void add(const std::shared_ptr<Object>& object);
  /// Notes a deletion; false where the object is not alive.
  bool remove(Object& object);
  /// Forgets objects that their parent owns.
  void remove_children(const Object& parent);

  [[nodiscard]] bool alive(const void* object) const;
  [[nodiscard]] bool known(const void* object) const;  // alive or deleted
  [[nodiscard]] std::string children_of(const Object& parent, bool owned) const;

  void call(const char* method, const std::string& arguments);
  void violation(const std::string& text);

  [[nodiscard]] std::string calls() const;
  [[nodiscard]] std::string violations() const;
  [[nodiscard]] std::string live_objects() const;
  [[nodiscard]] std::size_t count(const std::string& method) const;
  void reset();  // all but the objects

 private:
  static constexpr std::size_t kKept = 4096;

  mutable std::mutex mutex_;
  std::deque<std::string> calls_;  // the last ones
  std::map<std::string, std::size_t> counts_;
  std::vector<std::string> violations_;
  std::unordered_map<const void*, std::shared_ptr<Object>> live_;
  std::unordered_map<const void*, std::shared_ptr<Object>> dead_;
};

/// Passes a line to the caller's logger, in the generation's shape.
void log(void* logger, trtfast::tensorrt::Severity severity, const std::string& text) noexcept;

/// Checks an interface that the user implements: that its slots are where they should be.
[[nodiscard]] bool is_interface(void* object, const char* kind) noexcept;

}  // namespace standin
