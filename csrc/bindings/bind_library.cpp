#include "bindings/pybind.h"
#include "cuda/device.h"
#include "tensorrt/devices.h"
#include "tensorrt/library.h"

namespace trtfast::bindings {

using tensorrt::Library;

void register_library(py::module_& module) {
  py::class_<cuda::Device>(module, "Device", "A GPU.")
      .def_readonly("index", &cuda::Device::index)
      .def_property_readonly(
          "uuid",
          [](const cuda::Device& device) {
            return py::bytes(device.uuid.data(), device.uuid.size());
          },
          "16 bytes")
      .def_readonly("name", &cuda::Device::name)
      .def_readonly("compute_capability", &cuda::Device::compute_capability, "major * 10 + minor")
      .def_readonly("total_memory", &cuda::Device::total_memory, "in bytes")
      .def_readonly("multiprocessors", &cuda::Device::multiprocessors)
      .def_readonly("clock_mhz", &cuda::Device::clock_mhz, "at its highest")
      .def_readonly("memory_clock_mhz", &cuda::Device::memory_clock_mhz,
                    "at its highest; data moves twice in a cycle")
      .def_readonly("memory_bus_bits", &cuda::Device::memory_bus_bits);

  module.def(
      "devices",
      [] {
        cuda::Devices found;
        {
          const ReleasedGil released;
          found = cuda::devices();
        }
        return std::pair(found.list, found.reason);
      },
      "All GPUs, and why there are none.");
  module.def(
      "driver_version", [] { return cuda::driver_version(); }, py::call_guard<ReleasedGil>(),
      "The CUDA version that the driver supports, as in 13000; 0 without a driver.");

  py::class_<Library, std::shared_ptr<Library>>(module, "Library", "A loaded TensorRT.")
      .def(py::init([](const std::filesystem::path& path) {
             const ReleasedGil released;
             return std::const_pointer_cast<Library>(Library::open(path));
           }),
           py::arg("path"))
      .def_property_readonly("path", &Library::path)
      .def_property_readonly("product", &Library::product)
      .def_property_readonly("version", &Library::full_version)
      .def_property_readonly(
          "generation", [](const Library& library) { return name(library.abi().generation()); })
      .def_property_readonly(
          "is_rtx", [](const Library& library) { return is_rtx(library.abi().generation()); })
      .def_property_readonly("keeps_timings",
                             [](const Library& library) {
                               return library.abi().has(tensorrt::Capability::kTimingCache);
                             })
      .def_property_readonly(
          "newer_than_tested",
          [](const Library& library) { return newer_than_tested(library.version()); })
      .def(
          "supports",
          [](const Library& library, int compute_capability) {
            return tensorrt::supports(library.version(), compute_capability);
          },
          py::arg("compute_capability"));
}

}  // namespace trtfast::bindings
