#include "images/batch.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace trtfast::images {
namespace {

// Pixels begin where vectors may be loaded, and well apart.
constexpr std::size_t kAlignment = 256;

constexpr std::size_t kMostSizes = 256;  // in use at once: of more, all is found again

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

template <class T>
void write(std::byte* target, std::span<const T> values) {
  if (!values.empty()) std::memcpy(target, values.data(), values.size_bytes());
}

}  // namespace

std::shared_ptr<const Table> Recipe::table(const Method& method, Direction direction,
                                           const View& view,
                                           std::span<const std::int32_t> map) const {
  const Key key{method.arithmetic, direction, view};
  {
    const std::scoped_lock lock(mutex_);
    if (const auto found = tables_.find(key); found != tables_.end()) return found->second;
  }
  auto table =
      std::make_shared<const Table>(table_of(interpolation_, method, direction, view, map));
  const std::scoped_lock lock(mutex_);
  if (tables_.size() >= kMostSizes) tables_.clear();
  return tables_.emplace(key, std::move(table)).first->second;
}

std::optional<Geometry> Recipe::geometry(const Size& size) const {
  const std::scoped_lock lock(mutex_);
  const auto found = geometries_.find(size);
  return found != geometries_.end() ? std::optional(found->second) : std::nullopt;
}

void Recipe::tell_geometry(const Size& size, const Geometry& geometry) const {
  const std::scoped_lock lock(mutex_);
  if (geometries_.size() >= kMostSizes) geometries_.clear();
  geometries_.insert_or_assign(size, geometry);
}

Batch::Batch(std::shared_ptr<const Recipe> recipe, std::vector<Image> images)
    : recipe_(std::move(recipe)), images_(std::move(images)) {
  const kernels::Format& format = recipe_->format();
  // Images of one size share their tables.
  std::map<const Table*, std::uint32_t> offsets;
  std::uint32_t words = 0;
  const auto axis_of = [&](std::shared_ptr<const Table> table, std::int32_t visible) {
    const auto [found, is_new] = offsets.emplace(table.get(), words);
    const kernels::Axis axis{found->second, visible};
    if (is_new) {
      words += static_cast<std::uint32_t>(table->size());
      tables_.push_back(std::move(table));
    }
    return axis;
  };
  for (const auto& image : images_) {
    const Method method = method_of(recipe_->interpolation(), image.size, image.geometry.resized);
    const View rows{image.size.height, image.geometry.resized.height, image.geometry.top,
                    format.height};
    const View columns{image.size.width, image.geometry.resized.width, image.geometry.left,
                       format.width};
    sources_.push_back(
        {nullptr, image.size.height, image.size.width,
         axis_of(recipe_->table(method, Direction::kRows, rows, image.row_map), format.height),
         axis_of(recipe_->table(method, Direction::kColumns, columns, image.column_map),
                 format.width),
         method.arithmetic, image.geometry.rows_first ? 1 : 0, method.share});
  }
  for (const auto& source : sources_) kinds_.add(kernels::kind_of(source.arithmetic));
  // NOLINTBEGIN(cppcoreguidelines-prefer-member-initializer): one follows from the other
  words_at_ = aligned(sources_.size() * sizeof(kernels::Source));
  normalized_at_ = aligned(words_at_ + (words * sizeof(std::int32_t)));
  described_ = aligned(normalized_at_ + recipe_->normalized().size_bytes());
  sent_ = described_;
  for (const auto& image : images_) {
    places_.push_back(sent_);
    if (!image.on_device) sent_ += aligned(image.bytes());
  }
  scratch_at_ = sent_;
  held_ = scratch_at_;
  if (recipe_->normalized().empty()) {
    held_ += (images_.size() * (format.values() + (2 * sizeof(std::int32_t)))) + kAlignment;
  }
  // NOLINTEND(cppcoreguidelines-prefer-member-initializer)
}

std::vector<std::int64_t> Batch::shape() const {
  const kernels::Format& format = recipe_->format();
  const auto count = static_cast<std::int64_t>(images_.size());
  if (format.layout == kernels::Layout::kNhwc) {
    return {count, format.height, format.width, format.depth()};
  }
  return {count, format.depth(), format.height, format.width};
}

void Batch::describe(std::byte* target, const std::byte* device) const {
  auto sources = sources_;
  for (std::size_t index = 0; index < sources.size(); ++index) {
    const std::byte* pixels =
        images_[index].on_device ? images_[index].pixels : device + places_[index];
    sources[index].pixels = reinterpret_cast<const std::uint8_t*>(pixels);
  }
  write<kernels::Source>(target, sources);
  std::byte* words = target + words_at_;
  for (const auto& table : tables_) {
    write<std::int32_t>(words, *table);
    words += table->size() * sizeof(std::int32_t);
  }
  write(target + normalized_at_, recipe_->normalized());
}

void Batch::preprocess(std::byte* device, void* output, tensorrt::DataType dtype,
                       cudaStream_t stream) const {
  const bool is_stretched = recipe_->normalized().empty();
  kernels::Scratch scratch;
  if (is_stretched) {
    auto* room = device + scratch_at_;
    scratch.extremes = reinterpret_cast<std::int32_t*>(room);
    scratch.pixels =
        reinterpret_cast<std::uint8_t*>(room + (images_.size() * 2 * sizeof(std::int32_t)));
  }
  kernels::preprocess(
      reinterpret_cast<const kernels::Source*>(device), static_cast<std::int64_t>(images_.size()),
      kinds_, reinterpret_cast<const std::int32_t*>(device + words_at_),
      is_stretched ? nullptr : reinterpret_cast<const float*>(device + normalized_at_),
      recipe_->format(), scratch, output, dtype, stream);
}

}  // namespace trtfast::images
