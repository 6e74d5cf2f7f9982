// A fake of the CUDA runtime functions that trtfast's core calls, on host memory. It checks what it
// is given, and can be told to fail. Linked instead of the runtime, it lets the whole core run on
// a machine with no GPU.
//
// Faults: freeing twice, copying out of an allocation's bounds, using a stream that was destroyed,
// or one of another GPU than the current one.
#pragma once

#include <cstddef>
#include <string>

namespace fake_cuda {

/// As at first: two GPUs of compute capability 8.9, immediate work, no failures, nothing counted.
/// Memory and streams that are alive stay so.
void reset();

void set_devices(int count, int compute_capability = 89);

/// Whether asynchronous work waits until its stream is synchronised, so that a missing
/// synchronisation shows as old data.
void set_late(bool late);

/// Makes the n-th call from now of a function fail, counted from 1; 0 makes none fail. Of
/// "allocation", all kinds of allocation count. An allocation that fails is out of memory, any
/// other call has failed to launch.
void fail(const std::string& function, int nth);

/// How often a function was called since reset().
[[nodiscard]] int count(const std::string& function);

/// What is still allocated or open, in words; empty where nothing leaks.
[[nodiscard]] std::string leaks();

/// Broken rules since reset(), one a line.
[[nodiscard]] std::string faults();

}  // namespace fake_cuda
