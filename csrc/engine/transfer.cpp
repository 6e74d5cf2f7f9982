#include "engine/transfer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "cuda/check.h"
#include "engine/spin.h"
#include "error.h"

namespace trtfast {
namespace {

// Up to here one thread is as fast as several.
constexpr std::size_t kSmall = std::size_t{128} << 10U;
// Up to here it is sent in two parts: more calls would take longer than the copy does with helpers.
constexpr std::size_t kMedium = std::size_t{2} << 20U;
// Small enough that all threads end at about the same time and that the GPU fetches early; chunks
// that are ready together are sent together.
constexpr std::size_t kMediumChunk = std::size_t{32} << 10U;
constexpr std::size_t kLargeChunk = std::size_t{256} << 10U;
constexpr unsigned kMostHelpers = 3;  // more gain nothing: the memory or the transfer is busy

/// Copies past the caches what no cache could hold: else each line of the target would be read
/// before it is written, and threads that copy together share the memory's bandwidth.
void copy_chunk(std::byte* to, const std::byte* from, std::size_t bytes, bool past_caches) {
#ifdef __SSE2__
  constexpr std::size_t kLine = 64;
  if (past_caches && reinterpret_cast<std::uintptr_t>(to) % kLine == 0) {
    const std::size_t lines = bytes / kLine;
    for (std::size_t line = 0; line < lines; ++line) {
      const auto* source = reinterpret_cast<const __m128i*>(from + (line * kLine));
      auto* target = reinterpret_cast<__m128i*>(to + (line * kLine));
      const __m128i a = _mm_loadu_si128(source);
      const __m128i b = _mm_loadu_si128(source + 1);
      const __m128i c = _mm_loadu_si128(source + 2);
      const __m128i d = _mm_loadu_si128(source + 3);
      _mm_stream_si128(target, a);
      _mm_stream_si128(target + 1, b);
      _mm_stream_si128(target + 2, c);
      _mm_stream_si128(target + 3, d);
    }
    _mm_sfence();  // before anybody is told
    to += lines * kLine;
    from += lines * kLine;
    bytes -= lines * kLine;
  }
#else
  static_cast<void>(past_caches);
#endif
  if (bytes > 0) std::memcpy(to, from, bytes);
}

/// A part of a copy.
struct Chunk {
  std::size_t at;  // in the target
  const std::byte* from;
  std::size_t bytes;
};

/// A copy that is cut into chunks. Whoever is free takes the next.
struct Job {
  std::byte* to = nullptr;
  std::span<const Chunk> chunks = {};
  bool past_caches = false;

  [[nodiscard]] std::size_t count() const { return chunks.size(); }
  void run(std::size_t index) const {
    const Chunk& chunk = chunks[index];
    copy_chunk(to + chunk.at, chunk.from, chunk.bytes, past_caches);
  }
};

/// @return good until this thread makes another.
Job job_of(std::byte* to, std::span<const Piece> pieces, std::size_t bytes) {
  thread_local std::vector<Chunk> chunks;  // allocated once
  chunks.clear();
  const std::size_t most = bytes > kMedium ? kLargeChunk : kMediumChunk;
  for (const auto& piece : pieces) {
    for (std::size_t done = 0; done < piece.bytes; done += most) {
      chunks.push_back({piece.at + done, piece.source + done, std::min(most, piece.bytes - done)});
    }
  }
  return {to, chunks, bytes > kMedium};
}

/// The threads that help, of which one copy at a time makes use: where several calls copy at once,
/// the others do so alone, and all cores have work. Never ends, as its threads serve every engine.
///
/// A chunk is claimed by counting down `left_`, which also holds the job's number: so a helper that
/// wakes late cannot claim of another job than it looked at. While a claimed chunk is not ready,
/// the job stays as it is.
class Crew {
 public:
  static Crew& instance() {
    static auto* crew = new Crew;
    return *crew;
  }

  /// Runs a job, in this thread and in those that help. `done` gets how many chunks are ready from
  /// the first on, each time that number has grown.
  template <class Done>
  void run(const Job& job, cuda::Wait wait, const Done& done) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || helpers_ == 0) {
      for (std::size_t index = 0; index < job.count(); ++index) {
        job.run(index);
        done(index + 1);
      }
      return;
    }
    open(job, wait);
    const Settled settled(*this);
    std::size_t told = 0;
    while (told < job.count()) {
      std::size_t ready = told;
      while (ready < job.count() && ready_[ready].load(std::memory_order_acquire)) ++ready;
      if (ready > told) {
        done(ready);
        told = ready;
      } else if (!take_one()) {
        pause();
      }
    }
  }

 private:
  Crew() {
    helpers_ = may_spin() ? std::min(kMostHelpers, std::thread::hardware_concurrency() / 2) : 0;
  }

  /// Lets nobody claim any more, and waits for those who have, also where `done` failed.
  class Settled {
   public:
    explicit Settled(Crew& crew) : crew_(crew) {}
    ~Settled() {
      const std::uint64_t none = std::uint64_t{crew_.turn_.load(std::memory_order_relaxed)} << 32U;
      const auto left = static_cast<std::uint32_t>(crew_.left_.exchange(none));
      for (std::size_t index = 0; index < crew_.job_.count() - left; ++index) {
        while (!crew_.ready_[index].load(std::memory_order_acquire)) pause();
      }
    }
    Settled(const Settled&) = delete;  // of one job
    Settled& operator=(const Settled&) = delete;

   private:
    Crew& crew_;
  };

  void open(const Job& job, cuda::Wait wait) {
    for (; started_ < helpers_; ++started_) std::thread([this] { help(); }).detach();
    job_ = job;
    if (ready_.size() < job.count()) ready_ = std::vector<std::atomic<bool>>(job.count());
    for (std::size_t i = 0; i < job.count(); ++i) ready_[i].store(false, std::memory_order_relaxed);
    awake_.store(wait == cuda::Wait::kSpin, std::memory_order_relaxed);
    const std::uint32_t turn = turn_.load(std::memory_order_relaxed) + 1;
    left_.store((std::uint64_t{turn} << 32U) | job.count(), std::memory_order_release);
    turn_.store(turn, std::memory_order_release);
    turn_.notify_all();
  }

  bool take_one() {
    std::uint64_t seen = left_.load(std::memory_order_acquire);
    while (static_cast<std::uint32_t>(seen) != 0 &&
           !left_.compare_exchange_weak(seen, seen - 1, std::memory_order_acquire)) {
    }
    const auto left = static_cast<std::uint32_t>(seen);
    if (left == 0) return false;
    const std::size_t index = job_.count() - left;
    job_.run(index);
    ready_[index].store(true, std::memory_order_release);
    return true;
  }

  [[noreturn]] void help() {
    while (true) {
      const std::uint32_t turn = turn_.load(std::memory_order_acquire);
      while (take_one()) continue;
      const auto asleep_from = std::chrono::steady_clock::now() + kAwake;
      while (awake_.load(std::memory_order_relaxed) && turn_.load() == turn &&
             std::chrono::steady_clock::now() < asleep_from) {
        pause();
      }
      turn_.wait(turn);
    }
  }

  std::mutex mutex_;  // of the call that is helped
  unsigned helpers_ = 0;
  unsigned started_ = 0;
  Job job_{};
  std::vector<std::atomic<bool>> ready_;
  std::atomic<std::uint64_t> left_ = 0;  // the job's number, and how many chunks nobody has claimed
  std::atomic<std::uint32_t> turn_ = 0;
  std::atomic<bool> awake_ = false;
};

/// Large copies to a GPU take turns: were they sent side by side, all would end late and together,
/// and the GPU would have nothing to compute until then.
std::mutex& bus_of_current_device() {
  constexpr std::size_t kBuses = 64;                        // of more GPUs, some wait for others
  static auto* buses = new std::array<std::mutex, kBuses>;  // never ends: see Crew
  int device = 0;
  TRTFAST_CUDA(cudaGetDevice(&device));
  return (*buses)[static_cast<std::size_t>(device) % kBuses];
}

}  // namespace

void send(std::byte* device, std::byte* pinned, const std::byte* source, std::size_t bytes,
          cudaStream_t stream, cuda::Wait wait) {
  const Piece whole{0, source, bytes};
  send(device, pinned, {&whole, 1}, bytes, stream, wait);
}

void send(std::byte* device, std::byte* pinned, std::span<const Piece> pieces, std::size_t bytes,
          cudaStream_t stream, cuda::Wait wait) {
  const auto transfer = [&](std::size_t begin, std::size_t end) {
    if (begin == end) return;
    TRTFAST_CUDA(cudaMemcpyAsync(device + begin, pinned + begin, end - begin,
                                 cudaMemcpyHostToDevice, stream));
  };
  if (bytes <= kSmall) {
    for (const auto& piece : pieces) {
      if (piece.bytes > 0) std::memcpy(pinned + piece.at, piece.source, piece.bytes);
    }
    transfer(0, bytes);
    return;
  }
  std::unique_lock<std::mutex> turn;
  if (bytes > kMedium) turn = std::unique_lock(bus_of_current_device());
  const Job job = job_of(pinned, pieces, bytes);
  std::size_t sent = 0;
  Crew::instance().run(job, wait, [&](std::size_t ready) {
    const bool is_part =
        bytes > kMedium || ready == job.count() || (sent == 0 && 2 * ready >= job.count());
    if (!is_part) return;
    const std::size_t end = ready == job.count() ? bytes : job.chunks[ready].at;
    transfer(sent, end);
    sent = end;
  });
  transfer(sent, bytes);  // where there was nothing to copy
}

void copy(std::byte* to, const std::byte* from, std::size_t bytes, cuda::Wait wait) {
  if (bytes <= kSmall) {
    if (bytes > 0) std::memcpy(to, from, bytes);
    return;
  }
  const Piece whole{0, from, bytes};
  Crew::instance().run(job_of(to, {&whole, 1}, bytes), wait, [](std::size_t) {});
}

void deal(std::span<const Share> shares, const std::string& name, const std::byte* from,
          const Shape& shape, DataType dtype, cuda::Wait wait) {
  std::int64_t rows = 0;
  for (const auto& share : shares) rows += share.rows;
  if (shape.empty() || shape.front() != rows) {
    throw InputError("output '" + name + "' has the shape " + str(shape) + " for a batch of " +
                     std::to_string(rows) +
                     ": only outputs with a row for each of the inputs' can be shared");
  }
  for (const auto& share : shares) {
    Tensor& part = share.outputs->emplace_back();
    part.shape = shape;
    part.shape.front() = share.rows;
    part.dtype = dtype;
    const std::size_t bytes = byte_size(part.shape, dtype);
    part.data = std::make_unique_for_overwrite<std::byte[]>(bytes);
    copy(part.data.get(), from, bytes, wait);
    from += bytes;
  }
}

}  // namespace trtfast
