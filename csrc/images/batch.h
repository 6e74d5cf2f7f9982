// Images on their way to an engine: what they become, and one buffer that holds all that a GPU
// needs to make it of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "images/resampling.h"
#include "kernels/preprocess.h"

namespace trtfast::images {

/// What an image of some size is resized to, and where the result lies in that.
struct Geometry {
  Size resized;
  std::int32_t top;  // where the result begins; negative where padding comes first
  std::int32_t left;
  bool rows_first = false;  // whether Pillow combines rows before columns
};

/// What every image becomes. Keeps the geometry and the tables of the sizes in use; may be used by
/// several threads.
class Recipe {
 public:
  /// @param normalized float32 (depth, 256), the value of each pixel value; empty to map the least
  ///   value of an image to 0 and the largest to 1.
  Recipe(Interpolation interpolation, const kernels::Format& format, std::vector<float> normalized)
      : interpolation_(interpolation), format_(format), normalized_(std::move(normalized)) {}

  [[nodiscard]] const kernels::Format& format() const noexcept { return format_; }
  [[nodiscard]] std::span<const float> normalized() const noexcept { return normalized_; }
  [[nodiscard]] Interpolation interpolation() const noexcept { return interpolation_; }

  /// @param map as table_of() takes it; of `view.to` positions.
  [[nodiscard]] std::shared_ptr<const Table> table(const Method& method, Direction direction,
                                                   const View& view,
                                                   std::span<const std::int32_t> map) const;

  /// That of images of a size, where it was told and is still kept.
  [[nodiscard]] std::optional<Geometry> geometry(const Size& size) const;
  void tell_geometry(const Size& size, const Geometry& geometry) const;

 private:
  using Key = std::tuple<kernels::Arithmetic, Direction, View>;

  Interpolation interpolation_;
  kernels::Format format_;
  std::vector<float> normalized_;
  mutable std::mutex mutex_;
  mutable std::map<Key, std::shared_ptr<const Table>> tables_;
  mutable std::map<Size, Geometry> geometries_;
};

/// An image of the caller's: uint8 (height, width, 3), contiguous.
struct Image {
  const std::byte* pixels;
  Size size;
  bool on_device;
  Geometry geometry;
  std::span<const std::int32_t> row_map = {};  // see table_of()
  std::span<const std::int32_t> column_map = {};

  [[nodiscard]] std::size_t bytes() const {
    return static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width) * 3;
  }
};

/// Images that become one tensor. Their pixels stay where they are; the buffer on the device holds
/// first what describes them, then the pixels of those that are on the host, then room for kernels.
class Batch {
 public:
  Batch(std::shared_ptr<const Recipe> recipe, std::vector<Image> images);

  [[nodiscard]] const Recipe& recipe() const noexcept { return *recipe_; }
  [[nodiscard]] std::span<const Image> images() const noexcept { return images_; }

  /// Of the tensor, in its layout.
  [[nodiscard]] std::vector<std::int64_t> shape() const;

  /// Bytes of the description, which comes first.
  [[nodiscard]] std::size_t described() const noexcept { return described_; }
  /// Bytes of the description and the pixels: what is sent.
  [[nodiscard]] std::size_t sent() const noexcept { return sent_; }
  /// Bytes of the whole buffer on the device.
  [[nodiscard]] std::size_t held() const noexcept { return held_; }
  /// Where an image's pixels are in the buffer, if it is on the host.
  [[nodiscard]] std::size_t place(std::size_t image) const { return places_[image]; }

  /// Writes the description for a buffer that will be at `device`.
  void describe(std::byte* target, const std::byte* device) const;

  /// Has the kernels make the tensor, of the images that were sent.
  void preprocess(std::byte* device, void* output, tensorrt::DataType dtype,
                  cudaStream_t stream) const;

 private:
  std::shared_ptr<const Recipe> recipe_;
  std::vector<Image> images_;
  std::vector<kernels::Source> sources_;  // without their pixels' addresses
  kernels::Kinds kinds_;
  std::vector<std::shared_ptr<const Table>> tables_;
  std::size_t words_at_ = 0;
  std::size_t normalized_at_ = 0;
  std::size_t described_ = 0;
  std::size_t sent_ = 0;
  std::size_t scratch_at_ = 0;
  std::size_t held_ = 0;
  std::vector<std::size_t> places_;
};

}  // namespace trtfast::images
