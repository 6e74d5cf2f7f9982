// TensorRT's timing cache: how fast each kernel ran on a GPU, so that no later build measures it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "tensorrt/api.h"

namespace trtfast {

/// The timing cache of a build, which must outlive the configuration's builder.
/// @param known what timings_of() gave in an earlier build; may be empty. Those of another GPU or
///   version count for nothing.
/// @throws BuildError
[[nodiscard]] tensorrt::Object use_timings(const tensorrt::Object& config,
                                           std::span<const std::byte> known);

[[nodiscard]] std::vector<std::byte> timings_of(const tensorrt::Object& cache);

/// What two processes measured on a GPU, as one; the first alone where the second does not fit it.
/// @throws BuildError if the first is damaged.
[[nodiscard]] std::vector<std::byte> merge_timings(
    const std::shared_ptr<const tensorrt::Library>& library, int device,
    std::span<const std::byte> first, std::span<const std::byte> second);

}  // namespace trtfast
