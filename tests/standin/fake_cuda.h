// A fake of the CUDA runtime functions that trtfast's core calls, on host memory. It checks what it
// is given, and can be told to fail. Linked instead of the runtime, it lets the whole core run on
// a machine with no GPU.
//
// Faults, each kept and returned as an error:
// - freeing twice, or memory of the other kind; touching memory that is out of an allocation's
//   bounds, was freed, or, allocated in a stream's order, is not there yet;
// - a handle that was destroyed, or a stream of another GPU than the current one;
// - a call of CUDA in a host function;
// - what a capture forbids. CUDA names few of the calls that are "potentially unsafe" then; here
// they
//   are all those that allocate, free, query or wait. Memory cannot be allocated in a graph.
#pragma once

#include <cstddef>
#include <string>

namespace fake_cuda {

/// As at first: two GPUs of compute capability 8.9, immediate work, no failures, nothing counted.
/// Memory and handles that are alive stay so.
void reset();

void set_devices(int count, int compute_capability = 89);

/// Whether asynchronous work waits until something waits for it, so that a missing synchronisation
/// shows as old data. A query finds such work unfinished once; the next one finds it done.
void set_late(bool late);

/// Makes the n-th call from now of a function fail, counted from 1; 0 makes none fail. Of
/// "allocation", all kinds of allocation count; "launch" is that of TensorRT's kernels. An
/// allocation that fails is out of memory, any other call has failed to launch. What ends an object
/// is counted, and never fails.
void fail(const std::string& function, int nth);

/// How often a function was called since reset().
[[nodiscard]] int count(const std::string& function);

/// What is open now stays for good, and is no leak.
void keep();

/// What is still allocated or open, in words; empty where nothing leaks.
[[nodiscard]] std::string leaks();

/// Broken rules since reset(), one a line.
[[nodiscard]] std::string faults();
void forget_faults();

}  // namespace fake_cuda
