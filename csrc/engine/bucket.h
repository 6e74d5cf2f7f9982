// What a lane knows of the shapes that it has met: the outputs' shapes, and graphs to replay.
#pragma once

#include <algorithm>
#include <cstddef>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "cuda/graph.h"
#include "engine/tensor.h"

namespace trtfast {

/// A run with these addresses: first submitted layer by layer, and captured after that.
struct Variant {
  std::vector<const void*> addresses;
  int plain_runs = 0;
  std::optional<cuda::Graph> graph = {};
};

/// The shapes of one call's inputs, which decide the profile and the outputs' shapes.
struct Bucket {
  int profile;
  std::vector<Shape> inputs;
  std::vector<Shape> outputs;  // with a -1 where they depend on data
  bool capturable;
  bool has_run = false;
  std::list<Variant> variants = {};  // the last used first

  [[nodiscard]] bool fits(std::span<const Shape> shapes) const {
    return std::ranges::equal(inputs, shapes);
  }
  [[nodiscard]] bool has_graph() const {
    return std::ranges::any_of(variants,
                               [](const Variant& variant) { return variant.graph.has_value(); });
  }
};

/// Buckets and their graphs, bounded: what was not used for longest goes first.
class Buckets {
 public:
  /// @return null if there is none for these shapes.
  [[nodiscard]] Bucket* find(std::span<const Shape> shapes);

  /// The smallest one with a graph that these shapes fit into if rows are added, that is along the
  /// first axis of all inputs; null if there is none.
  [[nodiscard]] const Bucket* find_wider(std::span<const Shape> shapes) const;

  Bucket& add(Bucket bucket);
  void drop(const Bucket& bucket);

  /// The variant of these addresses, made if need be.
  [[nodiscard]] static Variant& variant(Bucket& bucket, std::span<const void* const> addresses);

  /// Forgets the graphs: the lane's memory has moved.
  void drop_graphs();

  [[nodiscard]] std::size_t graphs() const;

 private:
  static constexpr std::size_t kMostBuckets = 16;
  static constexpr std::size_t kMostVariants = 8;

  std::list<Bucket> buckets_;  // the last used first
};

}  // namespace trtfast
