// The memory of contexts' activations: who allocates it, how much it is, and who is using it.
#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "context.h"
#include "cuda.h"

namespace standin {
namespace {

constexpr const char* kTaken = "the device memory is in use by other work, in another stream";

// Enough to tell one shape from another.
std::size_t bytes_for(const std::map<std::string, Shape>& shapes) {
  std::size_t blocks = 0;
  for (const auto& [input, shape] : shapes) blocks += volume(shape) + 1;
  return blocks * kAlignment;
}

std::map<std::string, Shape> largest_shapes(const Model& model, int profile) {
  std::map<std::string, Shape> shapes;
  for (const auto& tensor : model.tensors) {
    if (tensor.is_input) shapes[tensor.name] = tensor.shape;
  }
  if (model.profiles.empty()) return shapes;
  for (const auto& [input, range] : model.profiles[static_cast<std::size_t>(profile)]) {
    if (!model.find(input)->is_shape_value) shapes[input] = range.max;
  }
  return shapes;
}

struct Use {
  const std::byte* begin;
  std::size_t size;
  Position end;
};

/// Which contexts' work uses which of the user's memory; of each, the last.
class Uses {
 public:
  static Uses& instance() {
    static auto* uses = new Uses;  // leaked: contexts may be deleted while the process exits
    return *uses;
  }

  bool claim(const void* context, const void* memory, std::size_t size, const Position& end) {
    const auto* begin = static_cast<const std::byte*>(memory);
    const std::scoped_lock lock(mutex_);
    const bool taken = std::ranges::any_of(uses_, [&](const auto& entry) {
      const Use& use = entry.second;
      return std::less<>()(use.begin, begin + size) && std::less<>()(begin, use.begin + use.size) &&
             !use.end.before(end.stream);
    });
    if (!taken) uses_.insert_or_assign(context, Use{begin, size, end});
    return !taken;
  }

  void settle(const void* context, const Position& end) {
    const std::scoped_lock lock(mutex_);
    if (const auto use = uses_.find(context); use != uses_.end()) use->second.end = end;
  }

  void forget(const void* context) {
    const std::scoped_lock lock(mutex_);
    uses_.erase(context);
  }

 private:
  std::mutex mutex_;
  std::map<const void*, Use> uses_;  // by context
};

bool is_users(const Context& context) noexcept {
  return context.activations.strategy == ContextAllocation::kUserManaged;
}

std::size_t needed_bytes(const Context& context) {
  return activation_bytes(context.model(), context.profile);
}

}  // namespace

bool Position::reached() const noexcept { return cuda().reached(stream, at); }

bool Position::before(void* next) const noexcept {
  return stream == next || cuda().ordered(stream, at, next);
}

std::size_t users_activation_bytes(const Context& context) {
  return is_users(context) ? needed_bytes(context) : 0;
}

std::size_t activation_bytes(const Model& model, int profile) {
  return bytes_for(largest_shapes(model, profile));
}

std::size_t activation_bytes(const Model& model) {
  std::size_t bytes = activation_bytes(model, 0);
  for (std::size_t profile = 1; profile < model.profiles.size(); ++profile) {
    bytes = std::max(bytes, activation_bytes(model, static_cast<int>(profile)));
  }
  return bytes;
}

std::size_t allocate_activations(Context& context) {
  Activations& own = context.activations;
  if (is_users(context)) return 0;
  const std::size_t bytes = own.strategy == ContextAllocation::kStatic
                                ? activation_bytes(context.model())
                                : activation_bytes(context.model(), context.profile);
  if (own.size == bytes) return 0;
  cuda().release(std::exchange(own.memory, nullptr));
  own.memory = cuda().allocate(bytes);
  own.size = own.memory != nullptr ? bytes : 0;
  return bytes - own.size;
}

void set_activations(Call<Context>& call, void* memory, std::optional<std::int64_t> size) {
  if (!call) return;
  if (!is_users(*call)) {
    call.violate("the context was not made for memory that the user manages");
  } else if (memory == nullptr || size.value_or(0) < 0) {
    call.violate("the memory is null, or its size is negative");
  } else if (!is_aligned(memory)) {
    call.violate("the memory is not aligned to 256 bytes");
  } else {
    call->activations.memory = memory;
    call->activations.size = size ? static_cast<std::size_t>(*size) : cuda().room(memory);
  }
}

bool check_activations(Call<Context>& call) {
  if (!is_users(*call)) return true;
  const Activations& given = call->activations;
  if (given.memory == nullptr) return call.violate("no device memory is set");
  const std::size_t room = cuda().room(given.memory);
  if (room == 0) return call.violate("the device memory is no live memory");
  const std::size_t needed = needed_bytes(*call);
  const std::size_t size = std::min(given.size, room);
  if (size >= needed && room >= given.size) return true;
  return call.violate("the device memory has " + std::to_string(size) + " bytes, fewer than " +
                      std::to_string(std::max(needed, given.size)));
}

bool claim_activations(Call<Context>& call, void* stream) {
  constexpr auto kNotYetKnown = std::numeric_limits<std::uint64_t>::max();
  return !is_users(*call) ||
         Uses::instance().claim(&*call, call->activations.memory, needed_bytes(*call),
                                {stream, kNotYetKnown}) ||
         call.violate(kTaken);
}

void claim_activations(const Surroundings& graph, const Position& end) {
  if (graph.size == 0) return;
  if (Uses::instance().claim(graph.context, graph.activations, graph.size, end)) return;
  Recorder::instance().violation(std::string("a graph's launch: ") + kTaken);
}

void settle_activations(const Context& context, const Position& end) {
  Uses::instance().settle(&context, end);
}

void forget_activations(const Context& context) { Uses::instance().forget(&context); }

}  // namespace standin
