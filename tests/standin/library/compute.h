// What the stand-in's "layers" compute.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model.h"

namespace standin {

/// A tensor at the time of an enqueue.
struct Operand {
  std::string name;
  void* address;
  std::uint64_t allocation;  // that the address is in
  Shape shape;
  DataType type;
  bool on_host;
};

/// What work needs beside its tensors. A graph has the addresses of the time of its capture.
struct Surroundings {
  const void* context;
  void* activations;
  std::uint64_t allocation;  // that the activations are in
  std::size_t size;          // of activations that the user manages, else 0
};

[[nodiscard]] std::size_t bytes_of(const Shape& shape, DataType type) noexcept;

/// The values of a shape tensor.
[[nodiscard]] Shape shape_values(const TensorDef& tensor, const void* address);

/// Reads the inputs and computes the output's bytes; `shape` is the output's.
[[nodiscard]] std::vector<std::byte> compute(const Op& op, const std::vector<Operand>& inputs,
                                             const Shape& shape);

/// Computes an output in a stream's order. False where the stream takes no work.
bool launch(void* stream, const Surroundings& surroundings, const Op& op,
            const std::vector<Operand>& inputs, const Operand& output);

/// Writes an output in a stream's order.
bool launch_write(void* stream, const Surroundings& surroundings, std::vector<std::byte> values,
                  const Operand& output);

}  // namespace standin
