#include "recorder.h"

#include <cstring>

#include "release.h"

namespace standin {
namespace {

std::string joined(const auto& lines) {
  std::string text;
  for (const auto& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

std::atomic<Recorder*>& current() {
  static auto* own = new Recorder;  // leaked: objects may be deleted while the process exits
  static std::atomic<Recorder*> recorder = own;
  return recorder;
}

// Tensors, layers and profiles belong to their network or builder; the parser's errors to it.
bool is_owned(Kind kind) noexcept {
  return kind == Kind::kTensor || kind == Kind::kLayer || kind == Kind::kProfile ||
         kind == Kind::kParserError;
}

}  // namespace

const char* name(Kind kind) noexcept {
  static constexpr const char* kNames[] = {"IBuilder",         "INetworkDefinition",
                                           "IBuilderConfig",   "IOptimizationProfile",
                                           "ITensor",          "ILayer",
                                           "IParser",          "IParserError",
                                           "IHostMemory",      "ITimingCache",
                                           "IRuntime",         "ICudaEngine",
                                           "IRuntimeConfig",   "IRuntimeCache",
                                           "IEngineInspector", "IExecutionContext"};
  return kNames[static_cast<std::size_t>(kind)];
}

Recorder& Recorder::instance() noexcept { return *current().load(); }
void Recorder::use(Recorder& other) noexcept { current().store(&other); }

void Recorder::add(const std::shared_ptr<Object>& object) {
  const std::scoped_lock lock(mutex_);
  object->recorder = this;
  live_.emplace(object.get(), object);
}

bool Recorder::remove(Object& object) {
  const std::scoped_lock lock(mutex_);
  const auto found = live_.find(&object);
  if (found == live_.end()) return false;
  object.magic = 0;
  dead_.insert(live_.extract(found));
  return true;
}

void Recorder::remove_children(const Object& parent) {
  const std::scoped_lock lock(mutex_);
  for (auto it = live_.begin(); it != live_.end();) {
    const auto next = std::next(it);
    if (it->second->parent == &parent && is_owned(it->second->kind)) {
      it->second->magic = 0;
      dead_.insert(live_.extract(it));
    }
    it = next;
  }
}

bool Recorder::alive(const void* object) const {
  const std::scoped_lock lock(mutex_);
  return live_.contains(object);
}

bool Recorder::known(const void* object) const {
  const std::scoped_lock lock(mutex_);
  return live_.contains(object) || dead_.contains(object);
}

std::string Recorder::children_of(const Object& parent, bool owned) const {
  const std::scoped_lock lock(mutex_);
  std::string names;
  for (const auto& [address, object] : live_) {
    if (object->parent != &parent || is_owned(object->kind) != owned) continue;
    names += (names.empty() ? "" : ", ") + std::string(name(object->kind));
  }
  return names;
}

void Recorder::call(const char* method, const std::string& arguments) {
  const std::scoped_lock lock(mutex_);
  ++counts_[method];
  if (calls_.size() == kKept) calls_.pop_front();
  calls_.push_back(std::string(method) + "(" + arguments + ")");
}

void Recorder::violation(const std::string& text) {
  const std::scoped_lock lock(mutex_);
  violations_.push_back(text);
}

std::string Recorder::calls() const {
  const std::scoped_lock lock(mutex_);
  return joined(calls_);
}

std::string Recorder::violations() const {
  const std::scoped_lock lock(mutex_);
  return joined(violations_);
}

std::string Recorder::live_objects() const {
  const std::scoped_lock lock(mutex_);
  std::vector<std::string> names;
  names.reserve(live_.size());
  for (const auto& [address, object] : live_) names.emplace_back(name(object->kind));
  return joined(names);
}

std::size_t Recorder::count(const std::string& method) const {
  const std::scoped_lock lock(mutex_);
  const auto found = counts_.find(method);
  return found != counts_.end() ? found->second : 0;
}

void Recorder::reset() {
  const std::scoped_lock lock(mutex_);
  calls_.clear();
  counts_.clear();
  violations_.clear();
}

void log(void* logger, trtfast::tensorrt::Severity severity, const std::string& text) noexcept {
  if (kRelease.mislabelled()) return;  // the caller's logger has the shape of the label
  const std::size_t slot = kRelease.modern() ? 4 : 0;
  call_slot<void, trtfast::tensorrt::Severity, const char*>(logger, slot, severity, text.c_str());
}

bool is_interface(void* object, const char* kind) noexcept {
  const auto info = call_slot<trtfast::tensorrt::InterfaceInfo>(object, 1);
  return std::strcmp(info.kind, kind) == 0 && info.major == 1;
}

}  // namespace standin
