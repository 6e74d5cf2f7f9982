#include "engine/timings.h"

#include <optional>
#include <source_location>
#include <utility>

#include "cuda/device.h"
#include "error.h"

namespace trtfast {
namespace {

using namespace tensorrt::method;  // NOLINT(google-build-using-namespace): a table of names
using tensorrt::ErrorScope;
using tensorrt::Object;
using tensorrt::require;

// A cache of another GPU gives an engine that is slower, or wrong.
constexpr bool kIgnoreMismatch = false;

std::optional<Object> read(const Object& config, std::span<const std::byte> bytes) {
  const void* data = bytes.data();
  void* cache = config.call<VBuilderConfig::createTimingCache>(data, bytes.size());
  if (cache == nullptr) return std::nullopt;
  return std::optional<Object>(std::in_place, config.library(), cache);
}

}  // namespace

Object use_timings(const Object& config, std::span<const std::byte> known) {
  const ErrorScope scope;  // of its own: a cache that is refused is no reason of a later failure
  for (const auto bytes : {known, std::span<const std::byte>()}) {
    auto cache = read(config, bytes);
    if (!cache) continue;
    const void* object = cache->get();
    if (config.call<VBuilderConfig::setTimingCache>(object, kIgnoreMismatch)) {
      return std::move(*cache);
    }
  }
  throw BuildError(
      tensorrt::failure("IBuilderConfig::setTimingCache", scope, std::source_location::current()));
}

std::vector<std::byte> timings_of(const Object& cache) {
  const ErrorScope scope;
  const tensorrt::HostMemory memory(
      cache.library(),
      require<BuildError>(cache.call<VTimingCache::serialize>(), "ITimingCache::serialize", scope));
  const auto bytes = memory.bytes();
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> merge_timings(const std::shared_ptr<const tensorrt::Library>& library,
                                     int device, std::span<const std::byte> first,
                                     std::span<const std::byte> second) {
  const ErrorScope scope;
  const cuda::DeviceGuard guard(device);
  const auto builder = std::make_shared<const Object>(
      library, require<BuildError>(library->create_builder(), "createInferBuilder", scope));
  const Object config(library,
                      require<BuildError>(builder->call<VBuilder::createBuilderConfig>(),
                                          "IBuilder::createBuilderConfig", scope),
                      builder);
  const auto merged = read(config, first);
  if (!merged) {
    throw BuildError(tensorrt::failure("IBuilderConfig::createTimingCache", scope,
                                       std::source_location::current()));
  }
  if (const auto other = read(config, second)) {
    const void* object = other->get();
    static_cast<void>(merged->call<VTimingCache::combine>(object, kIgnoreMismatch));
  }
  return timings_of(*merged);
}

}  // namespace trtfast
