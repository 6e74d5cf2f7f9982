#include "bindings/pybind.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled core of trtfast. Use the package's public names instead.";
  module.attr("__version__") = TRTFAST_VERSION;

  trtfast::bindings::register_errors(module);
  trtfast::bindings::register_log(module);
  trtfast::bindings::register_library(module);
  trtfast::bindings::register_build(module);
  trtfast::bindings::register_arrays(module);
  trtfast::bindings::register_postprocess(module);
  trtfast::bindings::register_engine(module);
  trtfast::bindings::register_images(module);
  trtfast::bindings::register_completions(module);
  trtfast::bindings::register_async(module);
  trtfast::bindings::register_batcher(module);
}
