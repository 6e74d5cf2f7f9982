// How long each layer of an engine takes.
#pragma once

#include <string>
#include <vector>

#include "engine/lane.h"
#include "engine/plan.h"

namespace trtfast {

struct LayerTime {
  std::string name;
  double milliseconds;  // of one run
};

/// Times each layer, on a context, a stream and buffers of its own, after a run that is not timed.
/// @param request its inputs alone matter.
/// @param runs that the times are the mean of, 1 or more.
/// @return in the order in which TensorRT first told of them.
/// @throws InputError, OutOfMemoryError, CudaError, Error
[[nodiscard]] std::vector<LayerTime> profile(const Plan& plan, const Request& request, int runs);

}  // namespace trtfast
