#include "bindings/pybind.h"
#include "tensorrt/log.h"

namespace trtfast::bindings {

using tensorrt::LogQueue;
using tensorrt::Severity;

void register_log(py::module_& module) {
  module.def(
      "take_log",
      [] {
        std::vector<tensorrt::LogLine> lines;
        {
          const ReleasedGil released;
          lines = LogQueue::instance().take();
        }
        std::vector<std::pair<int, py::str>> taken;
        taken.reserve(lines.size());
        for (const auto& line : lines)
          taken.emplace_back(static_cast<int>(line.severity), decoded(line.text));
        return taken;
      },
      "Waits for TensorRT's log lines, as (severity, text); empty once the log is closed.");
  module.def("close_log", [] { LogQueue::instance().close(); }, "Lets take_log() return for good.");
  module.def(
      "set_log_threshold",
      [](int severity) { LogQueue::instance().set_threshold(static_cast<Severity>(severity)); },
      py::arg("severity"), "Keeps lines up to this severity: 0 internal error to 4 verbose.");
}

}  // namespace trtfast::bindings
