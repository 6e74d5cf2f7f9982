// Timing caches, which TensorRT has and TensorRT-RTX must not be given.
#include <algorithm>
#include <sstream>
#include <string>

#include "call.h"
#include "cuda.h"
#include "objects.h"
#include "release.h"

namespace standin {
namespace {

// "stand-in timings <release> <GPU>", then a word for each operation that was measured.
constexpr const char* kTag = "stand-in timings ";

bool read(const std::string& bytes, TimingCache& cache) {
  if (!bytes.starts_with(kTag)) return false;
  std::istringstream words(bytes.substr(std::string(kTag).size()));
  std::int32_t version = 0;
  if (!(words >> version >> cache.device) || version != kRelease.version.number) return false;
  for (std::string word; words >> word;) cache.measured.insert(word);
  return true;
}

std::string write(const TimingCache& cache) {
  std::string bytes =
      kTag + std::to_string(kRelease.version.number) + " " + std::to_string(cache.device);
  for (const auto& word : cache.measured) bytes += " " + word;
  return bytes;
}

/// A cache that the user passes.
TimingCache* cache_of(const void* face) { return object_of<TimingCache>(const_cast<void*>(face)); }

bool combine(void* self, const void* face, bool ignore_mismatch) noexcept {
  Call<TimingCache> call(self, "ITimingCache::combine");
  if (!call) return false;
  const TimingCache* other = cache_of(face);
  if (other == nullptr) return call.violate("this is no live ITimingCache");
  if (ignore_mismatch) return call.violate("a cache of another GPU may give a wrong engine");
  if (other->device != call->device) {
    return call.refuse("[stand-in] Error Code 3: API Usage Error (a cache of another GPU)");
  }
  call->measured.insert(other->measured.begin(), other->measured.end());
  return true;
}

}  // namespace

void* create_timing_cache(void* self, const void* data, std::size_t size) noexcept {
  Call<Config> call(self, "IBuilderConfig::createTimingCache", std::to_string(size) + " bytes");
  if (!call) return nullptr;
  if (kRelease.rtx()) {
    call.violate("TensorRT-RTX measures nothing, and asks for a GPU if it is to");
    return nullptr;
  }
  if (data == nullptr && size > 0) {
    call.violate("the data are null");
    return nullptr;
  }
  const auto cache = std::make_shared<TimingCache>();
  cache->device = cuda().current_device();
  if (size > 0 && !read({static_cast<const char*>(data), size}, *cache)) {
    call.refuse("[stand-in] Error Code 1: Serialization (this is no timing cache of this version)");
    return nullptr;
  }
  return &own_object(cache, nullptr, call->logger)->face;
}

bool set_timing_cache(void* self, const void* face, bool ignore_mismatch) noexcept {
  Call<Config> call(self, "IBuilderConfig::setTimingCache");
  if (!call) return false;
  TimingCache* cache = cache_of(face);
  if (cache == nullptr) return call.violate("this is no live ITimingCache");
  if (ignore_mismatch) return call.violate("a cache of another GPU may give a wrong engine");
  if (cache->device != cuda().current_device()) {
    return call.refuse("[stand-in] Error Code 3: API Usage Error (a cache of another GPU)");
  }
  call->timings = cache;
  cache->builder = call->parent;
  return true;
}

void TimingCache::dispose() noexcept {
  if (builder != nullptr && recorder->alive(builder)) {
    recorder->violation("~ITimingCache: the builder that uses it is alive");
  }
}

VTable TimingCache::make_table() {
  namespace names = method::VTimingCache;
  VTable table;
  table.set<names::combine>(&combine);
  table.set<names::serialize>([](void* self) noexcept -> void* {
    const Call<TimingCache> call(self, "ITimingCache::serialize");
    if (!call) return nullptr;
    const auto memory = make_object<HostMemory>(nullptr, call->logger);
    memory->bytes = write(*call);
    return &memory->face;
  });
  return table;
}

}  // namespace standin
