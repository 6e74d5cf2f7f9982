// What a lane knows of the shapes that it has met: the outputs' shapes, and graphs to replay.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "cuda/graph.h"
#include "engine/tensor.h"

namespace trtfast {

/// What a context runs. That of graphs cannot be made anew without capturing them all again, so
/// where contexts wear out, what is never captured has another one.
enum class Role : std::uint8_t { kGraphs, kPlain };

/// A run with these addresses: first submitted layer by layer, and captured after that.
struct Variant {
  std::vector<const void*> addresses;
  int plain_runs = 0;
  std::optional<cuda::Graph> graph = {};
  std::uint64_t last_run = 0;  // among the bucket's
};

/// The shapes of one call's inputs, which decide the profile and the outputs' shapes.
struct Bucket {
  int profile;
  std::vector<Shape> inputs;
  std::vector<Shape> outputs;  // with a -1 where they depend on data
  bool capturable;
  std::array<bool, 2> has_run = {};  // by role
  std::uint64_t last_use = 0;        // among those of all
  std::uint64_t runs = 0;
  std::list<Variant> variants = {};  // the last used first
  Variant passing = {};              // the last run whose addresses were not worth keeping

  [[nodiscard]] bool fits(std::span<const Shape> shapes) const {
    return std::ranges::equal(inputs, shapes);
  }
  [[nodiscard]] bool has_graph() const {
    return std::ranges::any_of(variants,
                               [](const Variant& variant) { return variant.graph.has_value(); });
  }
};

/// Buckets and their graphs, bounded: what was not used for longest goes first. But a capture takes
/// as long as many runs, so neither shapes nor callers' addresses of which there are ever others
/// replace what is in use: they are run and forgotten.
class Buckets {
 public:
  /// @return null if there is none for these shapes.
  [[nodiscard]] Bucket* find(std::span<const Shape> shapes);

  /// The smallest one with a graph that these shapes fit into if rows are added, that is along the
  /// first axis of all inputs; null if there is none.
  [[nodiscard]] const Bucket* find_wider(std::span<const Shape> shapes) const;

  /// @param replace whether even what is in use may go for it; else it may not be capturable, and
  ///   live until the next call.
  Bucket& add(Bucket bucket, bool replace);
  void drop(const Bucket& bucket);

  /// The variant of these addresses for a run, made if need be.
  /// @param has_callers whether addresses of the caller's are among them. Those of the lane's own
  ///   are few, and replace even what is in use.
  [[nodiscard]] static Variant& variant(Bucket& bucket, std::span<const void* const> addresses,
                                        bool has_callers);

  /// Forgets the graphs: the lane's memory has moved.
  void drop_graphs();

  /// Forgets what a profile's context has run: it is to be made anew.
  void forget_runs(int profile, Role role);

  [[nodiscard]] std::size_t graphs() const;

 private:
  static constexpr std::size_t kMostBuckets = 64;
  static constexpr std::size_t kMostVariants = 8;
  static constexpr std::uint64_t kIdle = 1000;  // uses of others, after which one is in use no more

  std::list<Bucket> buckets_;  // the last used first
  std::optional<Bucket> passing_;
  std::uint64_t uses_ = 0;
};

}  // namespace trtfast
