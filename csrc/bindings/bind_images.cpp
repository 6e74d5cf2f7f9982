// Images from Python, and what becomes of them on the GPU.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/foreign.h"
#include "bindings/images.h"
#include "bindings/pybind.h"
#include "cuda/device.h"
#include "cuda/memory.h"
#include "cuda/stream.h"
#include "error.h"
#include "images/batch.h"

namespace trtfast::bindings {
namespace {

using images::Image;
using images::Recipe;
using Floats = py::array_t<float, py::array::c_style>;
using Pixels = py::array_t<std::uint8_t, py::array::c_style>;

template <class Value, std::size_t count>
Value named(const std::array<std::pair<const char*, Value>, count>& values,
            const std::string& name) {
  for (const auto& [key, value] : values) {
    if (name == key) return value;
  }
  throw InputError("unknown name " + name);
}

kernels::Channels channels_of(const std::string& name) {
  using kernels::Channels;
  return named(std::array{std::pair{"rgb", Channels::kRgb}, std::pair{"bgr", Channels::kBgr},
                          std::pair{"gray", Channels::kGray}},
               name);
}

kernels::Layout layout_of(const std::string& name) {
  using kernels::Layout;
  return named(std::array{std::pair{"NCHW", Layout::kNchw}, std::pair{"NHWC", Layout::kNhwc}},
               name);
}

DataType image_dtype_of(const std::string& name) {
  return named(
      std::array{std::pair{"float32", DataType::kFloat}, std::pair{"float16", DataType::kHalf},
                 std::pair{"bfloat16", DataType::kBf16}, std::pair{"uint8", DataType::kUint8}},
      name);
}

std::shared_ptr<Recipe> make_recipe(const std::string& interpolation, const images::Size& size,
                                    const std::string& channels, const std::string& layout,
                                    const std::array<std::uint8_t, 3>& fill,
                                    const std::optional<Floats>& normalized) {
  constexpr std::size_t kPixelValues = 256;
  kernels::Format format{size.height, size.width, channels_of(channels), layout_of(layout), {}};
  std::ranges::copy(fill, format.fill);
  std::vector<float> values;
  if (normalized) {
    values.assign(normalized->data(), normalized->data() + normalized->size());
    if (values.size() != static_cast<std::size_t>(format.depth()) * kPixelValues) {
      throw InputError("normalized must be float32 (channels, 256)");
    }
  }
  return std::make_shared<Recipe>(images::interpolation_of(interpolation), format,
                                  std::move(values));
}

std::span<const std::int32_t> read_map(const Words& map, std::int32_t positions,
                                       std::int32_t pixels) {
  const std::span<const std::int32_t> words(map.data(), static_cast<std::size_t>(map.size()));
  const auto is_inside = [pixels](std::int32_t pixel) { return 0 <= pixel && pixel < pixels; };
  if (!std::cmp_equal(words.size(), positions) || !std::ranges::all_of(words, is_inside)) {
    throw InputError("a map must name a pixel for each position");
  }
  return words;
}

images::Geometry read_geometry(const std::int32_t* row, const std::string& what) {
  const images::Geometry geometry{{row[0], row[1]}, row[2], row[3], row[4] != 0};
  if (geometry.resized.height < 1 || geometry.resized.width < 1) {
    throw InputError(what + " cannot be resized to " + std::to_string(row[0]) + " by " +
                     std::to_string(row[1]));
  }
  return geometry;
}

/// Whether all are arrays on the host as read_images() takes them, of sizes whose geometry is kept.
bool knows(const Recipe& recipe, const py::list& objects) {
  const auto is_known = [&](py::handle object) {
    if (!py::isinstance<Pixels>(object)) return false;
    const auto array = py::reinterpret_borrow<Pixels>(object);
    if (array.ndim() != 3 || array.shape(2) != 3) return false;
    const images::Size size{static_cast<std::int32_t>(array.shape(0)),
                            static_cast<std::int32_t>(array.shape(1))};
    return recipe.geometry(size).has_value();
  };
  // NOLINTNEXTLINE(modernize-use-ranges): a Python list's iterators are none of a range's
  return std::all_of(objects.begin(), objects.end(), is_known);
}

}  // namespace

Given read_images(const Recipe& recipe, const py::list& objects,
                  const std::optional<Words>& geometry, const Maps& maps, int device) {
  if (geometry && (geometry->ndim() != 2 || geometry->shape(1) != 5 ||
                   !std::cmp_equal(geometry->shape(0), objects.size()))) {
    throw InputError("geometry must be int32 (n, 5) for n images");
  }
  if (!maps.empty() && maps.size() != objects.size()) {
    throw InputError("maps must be as many as images");
  }
  Given given;
  const auto is_foreign = [](py::handle object) { return !py::isinstance<py::array>(object); };
  // NOLINTNEXTLINE(modernize-use-ranges): a Python list's iterators are none of a range's
  if (std::any_of(objects.begin(), objects.end(), is_foreign)) {
    const ReleasedGil released;
    given.junction = cuda::Junction::of(device);
  }
  for (std::size_t index = 0; index < objects.size(); ++index) {
    const py::object object = objects[index];
    const std::string what = "image " + std::to_string(index);
    Image image{};
    Shape shape;
    if (is_foreign(object)) {
      auto view =
          device_view(object, what, DataType::kUint8, device, std::nullopt, given.junction.get());
      image.pixels = view.data;
      image.on_device = true;
      shape = std::move(view.shape);
      given.keep.push_back(std::move(view.keep));
    } else {
      if (!py::isinstance<Pixels>(object)) {
        throw InputError(what + " must be a C-contiguous array of uint8");
      }
      const auto array = py::reinterpret_borrow<Pixels>(object);
      image.pixels = reinterpret_cast<const std::byte*>(array.data());
      shape.assign(array.shape(), array.shape() + array.ndim());
      given.keep.push_back(object);
    }
    if (shape.size() != 3 || shape[2] != 3 || shape[0] < 1 || shape[1] < 1) {
      throw InputError(what + " has shape " + str(shape) + "; expected (height, width, 3)");
    }
    image.size = {static_cast<std::int32_t>(shape[0]), static_cast<std::int32_t>(shape[1])};
    if (geometry) {
      image.geometry = read_geometry(geometry->data(static_cast<py::ssize_t>(index)), what);
    } else if (const auto kept = recipe.geometry(image.size)) {
      image.geometry = *kept;
    } else {
      throw InputError(what + " has a size whose geometry is not kept: give it");
    }
    if (!maps.empty()) {
      const images::Size& resized = image.geometry.resized;
      image.row_map = read_map(maps[index].first, resized.height, image.size.height);
      image.column_map = read_map(maps[index].second, resized.width, image.size.width);
    } else if (geometry) {
      recipe.tell_geometry(image.size, image.geometry);
    }
    given.images.push_back(image);
  }
  return given;
}

namespace {

py::object infer_images(Engine& engine, const std::shared_ptr<Recipe>& recipe,
                        const py::list& objects, const std::optional<Words>& geometry,
                        const Maps& maps) {
  Given given = read_images(*recipe, objects, geometry, maps, engine.device());
  Arguments arguments;
  std::vector<Tensor> outputs;
  {
    const ReleasedGil released;
    const images::Batch batch(recipe, std::move(given.images));
    arguments.request = engine.image_request(batch);
    if (given.junction != nullptr) arguments.request.inputs_ready = &given.junction->ready();
    outputs = engine.infer(arguments.request);
  }
  return to_results(engine.outputs(), arguments, std::move(outputs));
}

std::shared_ptr<DeviceArray> preprocess(const std::shared_ptr<Recipe>& recipe,
                                        const py::list& objects,
                                        const std::optional<Words>& geometry, const Maps& maps,
                                        const std::string& dtype, int device) {
  Given given = read_images(*recipe, objects, geometry, maps, device);
  const DataType type = image_dtype_of(dtype);
  const ReleasedGil released;
  const images::Batch batch(recipe, std::move(given.images));
  const cuda::DeviceGuard guard(device);
  const cuda::Stream stream;
  if (given.junction != nullptr) given.junction->ready().hold(stream.get());
  cuda::DeviceBuffer buffer;
  buffer.reserve(batch.held());
  std::vector<std::byte> staged(batch.sent());
  batch.describe(staged.data(), buffer.data());
  for (std::size_t index = 0; index < batch.images().size(); ++index) {
    const Image& image = batch.images()[index];
    if (!image.on_device) std::memcpy(&staged[batch.place(index)], image.pixels, image.bytes());
  }
  TRTFAST_CUDA(cudaMemcpyAsync(buffer.data(), staged.data(), staged.size(), cudaMemcpyHostToDevice,
                               stream.get()));
  Tensor tensor{nullptr, batch.shape(), type};
  tensor.device = cuda::PooledMemory(device, byte_size(tensor.shape, type), stream.get());
  batch.preprocess(buffer.data(), tensor.device.data(), type, stream.get());
  stream.synchronize();
  return make_released<DeviceArray>(std::move(tensor), std::nullopt);
}

}  // namespace

void register_images(py::module_& module) {
  py::class_<Recipe, std::shared_ptr<Recipe>>(module, "ImageRecipe",
                                              "What images become on the GPU.")
      .def(py::init([](const std::string& interpolation, std::pair<int, int> size,
                       const std::string& channels, const std::string& layout,
                       const std::array<std::uint8_t, 3>& fill,
                       const std::optional<Floats>& normalized) {
             return make_recipe(interpolation, {size.first, size.second}, channels, layout, fill,
                                normalized);
           }),
           py::kw_only(), py::arg("interpolation"), py::arg("size"), py::arg("channels"),
           py::arg("layout"), py::arg("fill"), py::arg("normalized").noconvert())
      .def("knows", &knows, py::arg("images"),
           "Whether all are C-contiguous uint8 arrays (H, W, 3) on the host, of sizes whose "
           "geometry is kept from an earlier call.");
  module.def("infer_images", &infer_images, py::arg("engine"), py::arg("recipe"), py::arg("images"),
             py::arg("geometry").noconvert(), py::arg("maps"),
             "Runs an engine on images, each with its geometry: the height and width that it is "
             "resized to, the row and column where the result begins in that, and whether Pillow "
             "combines rows before columns. None where the recipe knows them.");
  module.def("preprocess", &preprocess, py::arg("recipe"), py::arg("images"),
             py::arg("geometry").noconvert(), py::arg("maps"), py::kw_only(), py::arg("dtype"),
             py::arg("device"), "The tensor that an engine would get, on the GPU.");
}

}  // namespace trtfast::bindings
