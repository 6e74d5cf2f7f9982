// Makes the execution contexts of an engine, and keeps the kernels that they compile.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <vector>

#include "tensorrt/api.h"

namespace trtfast {

/// What TensorRT-RTX does not stand at once, whatever the engines and contexts. Seen with 1.5: a
/// run crashes while another context is captured, and an engine's loading while kernels are read.
/// One lock for the process, since what they share is not known. Who waits to be alone comes before
/// those who ask later.
using Alone = std::unique_lock<std::shared_mutex>;
using Shared = std::shared_lock<std::shared_mutex>;

/// Held while TensorRT-RTX loads an engine, and as Contexts says.
[[nodiscard]] Alone lock_rtx();

class Contexts {
 public:
  /// @param kernels what kernels() gave in an earlier process; may be empty. TensorRT ignores those
  ///   of another version, GPU or driver.
  Contexts(std::shared_ptr<const tensorrt::Object> engine, std::span<const std::byte> kernels);

  /// A new context, with profile 0 and no activation memory: set_activations() gives it some.
  /// @throws OutOfMemoryError
  [[nodiscard]] tensorrt::Object make() const;

  /// Bytes of activation memory that a context needs, whatever its profile and shapes.
  [[nodiscard]] std::size_t activation_bytes() const;

  /// Gives a context its activation memory, of activation_bytes(). One run at a time may use it.
  static void set_activations(const tensorrt::Object& context, std::byte* memory,
                              std::size_t bytes);

  /// Held while a context is made, while it first meets a shape, which may compile kernels, while
  /// it is captured, and while kernels are read. Holds nothing where TensorRT is no TensorRT-RTX.
  [[nodiscard]] Alone alone() const;

  /// Held while a context runs otherwise.
  [[nodiscard]] Shared beside_others() const;

  /// Whether TensorRT compiles kernels here, so that there is something to keep.
  [[nodiscard]] bool compiles() const noexcept { return cache_.has_value(); }

  /// After how many runs with changed shapes a context should give way to a new one; none where
  /// contexts do not wear out. Seen with TensorRT-RTX 1.4 and 1.5, and with NVIDIA's own bindings
  /// too: each such run leaves up to 2 KB for each layer on the host, which are freed only with the
  /// context, and each context that ends leaves up to 0.6 MB for good.
  [[nodiscard]] std::optional<std::size_t> most_changes() const noexcept { return most_changes_; }

  /// The kernels that all contexts have compiled so far; empty if none can be kept.
  [[nodiscard]] std::vector<std::byte> kernels() const;

 private:
  std::shared_ptr<const tensorrt::Object> engine_;
  // TensorRT-RTX's runtime cache; the configuration refers to it, so it is declared first.
  std::optional<tensorrt::Object> cache_;
  std::optional<tensorrt::Object> config_;
  std::optional<std::size_t> most_changes_;
};

}  // namespace trtfast
