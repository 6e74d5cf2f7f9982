// What the parts of an execution context share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "call.h"
#include "compute.h"
#include "objects.h"

namespace standin {

inline constexpr std::uintptr_t kAlignment = 256;

[[nodiscard]] inline bool is_aligned(const void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address) % kAlignment == 0;
}

/// A tensor's shape now; -1 where it is not known yet.
[[nodiscard]] Shape shape_of(const Context& context, const TensorDef& tensor);

/// Why the inputs do not fit together; empty where they do.
[[nodiscard]] std::string contradiction(const Context& context);

/// TensorRT reads a value that decides shapes once for each address: an input whose value was
/// overwritten in place since.
[[nodiscard]] std::string overwritten(const Call<Context>& call);

bool enqueue(void* self, void* stream) noexcept;

// The memory of activations, in activations.cpp.

/// Bytes that contexts need for a profile, or for any one; or of the user's, now.
[[nodiscard]] std::size_t activation_bytes(const Model& model, int profile);
[[nodiscard]] std::size_t activation_bytes(const Model& model);
[[nodiscard]] std::size_t users_activation_bytes(const Context& context);

/// Allocates what the strategy says; the bytes that there is no memory for, 0 where all is well.
[[nodiscard]] std::size_t allocate_activations(Context& context);

/// Takes the memory that the user gives; all that there is from its address where no size is told.
void set_activations(Call<Context>& call, void* memory, std::optional<std::int64_t> size);

/// What must hold of the user's memory before an enqueue.
bool check_activations(Call<Context>& call);

/// Notes that an enqueue in this stream uses the user's memory; false, with the rule reported,
/// where work in another stream still does, and the stream does not wait for it by an event.
bool claim_activations(Call<Context>& call, void* stream);
/// The same of a graph's launch that ends there.
void claim_activations(const Surroundings& graph, const Position& end);
/// The end of that work, and of the context.
void settle_activations(const Context& context, const Position& end);
void forget_activations(const Context& context);

}  // namespace standin
