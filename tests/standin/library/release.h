// Which release of TensorRT this stand-in library says that it is.
#pragma once

#include <cstdint>

#include "tensorrt/abi.h"

namespace standin {

struct Release {
  trtfast::tensorrt::Version version;  // what getInferLibVersion() answers
  trtfast::tensorrt::Version layout;   // the release whose tables it has
  std::int32_t build;

  [[nodiscard]] bool mislabelled() const noexcept { return version.number != layout.number; }
  [[nodiscard]] trtfast::tensorrt::Generation generation() const noexcept;
  [[nodiscard]] bool rtx() const noexcept { return layout.major() == 1; }
  /// Generations 11 and RTX 1.5 made ILogger a versioned interface and dropped flag bits.
  [[nodiscard]] bool modern() const noexcept;
};

/// Defined in release.cpp, the only file that is compiled once for each library.
extern const Release kRelease;

}  // namespace standin
