// From Python's images to the core's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/pybind.h"
#include "cuda/junction.h"
#include "images/batch.h"

namespace trtfast::bindings {

using Words = py::array_t<std::int32_t, py::array::c_style>;
using Maps = std::vector<std::pair<Words, Words>>;

/// Images, and what keeps them in place.
struct Given {
  std::vector<images::Image> images = {};
  std::vector<py::object> keep = {};
  std::shared_ptr<cuda::Junction> junction = {};  // where some are on the device
};

/// @param geometry int32 (n, 5): for each image the height and width that it is resized to, the row
///   and column where the result begins in that, and whether Pillow combines rows before columns;
///   none where the recipe keeps it, as it does of images without maps.
/// @param maps for each image, which rows and columns it shows, or none.
/// @throws InputError
[[nodiscard]] Given read_images(const images::Recipe& recipe, const py::list& objects,
                                const std::optional<Words>& geometry, const Maps& maps, int device);

}  // namespace trtfast::bindings
