// Work in streams, and its capture.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "fake_cuda_state.h"

namespace fake_cuda {

/// A place in a stream's order.
struct Mark {
  std::shared_ptr<Stream> stream;
  std::uint64_t at;
  std::chrono::steady_clock::time_point time;  // when it was reached
};

struct Op {
  std::function<void()> run;          // may be empty
  std::shared_ptr<const Mark> after;  // waits for it; may be null
};

struct Stream {
  int device;
  std::deque<Op> queue;
  std::uint64_t submitted = 0;
  std::uint64_t done = 0;
  std::uint64_t asked = 0;  // up to where a query has found it unfinished
  bool running = false;     // on some thread
  std::shared_ptr<Capture> capture;
};

/// How far each stream of a capture is known to have come.
using Clock = std::unordered_map<const Stream*, std::size_t>;

struct Node {
  std::function<void()> run;
  std::function<void(const Mark& end)> relaunch = {};  // before each launch of its graph, if any
  bool copies = false;                                 // memory
};

struct Capture {
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  const Stream* origin;
  bool valid = true;
  bool over = false;
  std::vector<std::shared_ptr<Node>> nodes;          // in the order of the calls
  std::unordered_map<const Stream*, Clock> streams;  // the origin, and those that joined
};

struct Event {
  int device;
  unsigned flags;
  std::shared_ptr<Mark> mark;        // of the last record; null where there is none
  std::shared_ptr<Capture> capture;  // where that was in one
  Clock clock;
};

/// Null where there is no such stream, or none any more. A null handle is the current GPU's default
/// stream, which waits for none of the others, as they do not block.
[[nodiscard]] std::shared_ptr<Stream> find_stream(const void* handle);

/// An error where a call cannot use this stream now.
cudaError_t usable(const std::shared_ptr<Stream>& stream, const char* function);

/// Adds work behind all that the stream holds already; in a capture, to its graph.
cudaError_t submit(const std::shared_ptr<Stream>& stream, Node work);
inline cudaError_t submit(const std::shared_ptr<Stream>& stream, std::function<void()> work) {
  return submit(stream, Node{std::move(work)});
}

/// Whether what is submitted to it now becomes part of a graph.
[[nodiscard]] bool capturing(const std::shared_ptr<Stream>& stream);

/// Has the stream's next work wait for a mark. The stream is not captured.
void wait_for(const std::shared_ptr<Stream>& stream, std::shared_ptr<const Mark> after);

/// The end of what the stream holds now.
[[nodiscard]] Mark end_of(const std::shared_ptr<Stream>& stream);

/// Runs all work up to a place in a stream's order, and what that waits for in other streams.
void reach(const Mark& mark);
void drain_device(int device);

/// Whether it is reached, as a query tells: see set_late().
[[nodiscard]] bool query(const Mark& mark);

/// Whether it is reached, with nothing run.
[[nodiscard]] bool reached(const Mark& mark);

/// Whether what is added to a stream from now on runs after a mark: it is reached, or what the
/// stream holds waits for it.
[[nodiscard]] bool ordered(const Mark& mark, const Stream& stream);

/// Marks a capture as invalid, if there is one.
void invalidate(const std::shared_ptr<Capture>& capture);

/// A fault that makes the stream's capture invalid; success where it has none.
cudaError_t not_in_capture(const std::shared_ptr<Stream>& stream, const char* function);

/// The captures that forbid this thread the calls that are potentially unsafe.
[[nodiscard]] std::vector<std::shared_ptr<Capture>> forbidding();

/// A fault, and invalid captures, where a potentially unsafe call is made while it is forbidden; a
/// fault in a host function too.
cudaError_t check_safe(const char* function);

/// A fault in a host function, which must not call CUDA, and an error in a child that was forked
/// after CUDA had started.
cudaError_t check_caller(const char* function);

}  // namespace fake_cuda
