#include "fake_cuda_work.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace fake_cuda {

std::shared_ptr<Stream> find_stream(const void* handle) {
  if (auto stream = find(state().streams, handle)) return stream;
  const int gpu = current;
  const std::scoped_lock lock(state().mutex);
  auto& defaults = state().default_streams;
  if (handle == nullptr || handle == cudaStreamLegacy) {
    auto& stream = defaults[gpu];
    if (stream == nullptr) {
      stream = std::make_shared<Stream>();
      stream->device = gpu;
    }
    return stream;
  }
  const auto own = std::ranges::find_if(
      defaults, [handle](const auto& entry) { return entry.second.get() == handle; });
  return own != defaults.end() ? own->second : nullptr;
}

cudaError_t usable(const std::shared_ptr<Stream>& stream, const char* function) {
  if (const auto error = check_caller(function); error != cudaSuccess) return error;
  if (stream == nullptr) return fault(std::string(function) + ": no such stream, or destroyed");
  if (stream->device == current) return cudaSuccess;
  return fault(std::string(function) + ": a stream of another GPU than the current one");
}

cudaError_t submit(const std::shared_ptr<Stream>& stream, Node work) {
  Mark mark{stream, 0, {}};
  {
    const std::scoped_lock lock(state().mutex);
    if (const auto& capture = stream->capture) {
      if (!capture->valid) return result(cudaErrorStreamCaptureInvalidated);
      capture->nodes.push_back(std::make_shared<Node>(std::move(work)));
      ++capture->streams[stream.get()][stream.get()];
      return cudaSuccess;
    }
    stream->queue.push_back({std::move(work.run), nullptr});
    mark.at = ++stream->submitted;
    if (state().late) return cudaSuccess;
  }
  reach(mark);
  return cudaSuccess;
}

bool capturing(const std::shared_ptr<Stream>& stream) {
  const std::scoped_lock lock(state().mutex);
  return stream != nullptr && stream->capture != nullptr;
}

void wait_for(const std::shared_ptr<Stream>& stream, std::shared_ptr<const Mark> after) {
  Mark mark{stream, 0, {}};
  {
    const std::scoped_lock lock(state().mutex);
    stream->queue.push_back({{}, std::move(after)});
    mark.at = ++stream->submitted;
    if (state().late) return;
  }
  reach(mark);
}

Mark end_of(const std::shared_ptr<Stream>& stream) {
  const std::scoped_lock lock(state().mutex);
  return {stream, stream->submitted, {}};
}

// A mark that work waits for is older than that work, so this ends; and it waits for other threads
// only while they run work, which waits for nothing.
void reach(const Mark& mark) {
  Stream& stream = *mark.stream;
  std::unique_lock lock(state().mutex);
  while (stream.done < mark.at) {
    if (stream.running) {
      state().progress.wait(lock);
      continue;
    }
    if (const auto after = stream.queue.front().after;
        after != nullptr && after->stream->done < after->at) {
      lock.unlock();
      reach(*after);
      lock.lock();
      continue;
    }
    Op op = std::move(stream.queue.front());
    stream.queue.pop_front();
    stream.running = true;
    lock.unlock();
    if (op.run) op.run();
    op = {};  // what it holds ends without the lock
    lock.lock();
    stream.running = false;
    ++stream.done;
    state().progress.notify_all();
  }
}

// Freeing memory waits for all work of its GPU, as CUDA does.
void drain_device(int device) {
  std::vector<Mark> marks;
  {
    const std::scoped_lock lock(state().mutex);
    for (const auto& [handle, stream] : state().streams) {
      if (stream->device == device) marks.push_back({stream, stream->submitted, {}});
    }
    if (const auto own = state().default_streams.find(device);
        own != state().default_streams.end()) {
      marks.push_back({own->second, own->second->submitted, {}});
    }
  }
  for (const auto& mark : marks) reach(mark);
}

bool reached(const Mark& mark) {
  const std::scoped_lock lock(state().mutex);
  return mark.stream->done >= mark.at;
}

bool query(const Mark& mark) {
  Mark progress = mark;  // a thread that asks again and again gets there, whatever is added
  {
    const std::scoped_lock lock(state().mutex);
    if (mark.stream->done >= mark.at) return true;
    std::uint64_t& asked = mark.stream->asked;
    progress.at = std::min(asked, mark.at);
    asked = std::max(asked, mark.at);
  }
  reach(progress);
  return reached(mark);
}

namespace {

/// How far streams were searched already.
using Searched = std::unordered_map<const Stream*, std::uint64_t>;

/// Whether a stream's work up to its `end` has a mark before it. The caller holds the lock.
bool leads_to(const Mark& mark, const Stream& stream, std::uint64_t end, Searched& searched) {
  if (&stream == mark.stream.get()) return mark.at <= end;
  std::uint64_t& known = searched[&stream];
  if (known >= end) return false;
  known = end;
  std::uint64_t position = stream.done + (stream.running ? 1 : 0);
  return std::ranges::any_of(stream.queue, [&](const Op& op) {
    return ++position <= end && op.after != nullptr &&
           leads_to(mark, *op.after->stream, op.after->at, searched);
  });
}

}  // namespace

bool ordered(const Mark& mark, const Stream& stream) {
  const std::scoped_lock lock(state().mutex);
  Searched searched;
  return mark.stream->done >= mark.at || leads_to(mark, stream, stream.submitted, searched);
}

void invalidate(const std::shared_ptr<Capture>& capture) {
  const std::scoped_lock lock(state().mutex);
  if (capture != nullptr) capture->valid = false;
}

cudaError_t not_in_capture(const std::shared_ptr<Stream>& stream, const char* function) {
  std::shared_ptr<Capture> capture;
  {
    const std::scoped_lock lock(state().mutex);
    capture = stream->capture;
    if (capture == nullptr) return cudaSuccess;
    if (!capture->valid) return result(cudaErrorStreamCaptureInvalidated);
  }
  invalidate(capture);
  return fault(std::string(function) + ": not permitted on a stream that is captured",
               cudaErrorStreamCaptureUnsupported);
}

std::vector<std::shared_ptr<Capture>> forbidding() {
  const std::scoped_lock lock(state().mutex);
  std::vector<std::shared_ptr<Capture>> found;
  std::ranges::copy_if(state().captures, std::back_inserter(found), [](const auto& capture) {
    if (capture->mode == cudaStreamCaptureModeRelaxed) return false;
    return capture->mode == cudaStreamCaptureModeGlobal ||
           capture->thread == std::this_thread::get_id();
  });
  return found;
}

cudaError_t check_safe(const char* function) {
  if (const auto error = check_caller(function); error != cudaSuccess) return error;
  const auto captures = forbidding();
  if (captures.empty()) return cudaSuccess;
  std::ranges::for_each(captures, invalidate);
  return fault(std::string(function) + ": not permitted while a stream is captured",
               cudaErrorStreamCaptureUnsupported);
}

cudaError_t check_caller(const char* function) {
  if (!in_host_function) return start();
  return fault(std::string(function) + ": called in a host function", cudaErrorNotPermitted);
}

}  // namespace fake_cuda
