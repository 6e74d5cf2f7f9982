#include "engine/bucket.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace trtfast {
namespace {

bool has_rows(const Shape& shape, std::int64_t rows) {
  return !shape.empty() && shape.front() == rows;
}

// All that has rows must have the same number of them, before and after: else inputs that do not
// fit together would be made to, and it would not be known which rows of an output are the
// caller's.
bool is_wider(const Bucket& bucket, std::span<const Shape> shapes) {
  const auto [wide, given] = std::ranges::mismatch(bucket.inputs, shapes);
  if (wide == bucket.inputs.end() || wide->empty() || given->empty()) return false;
  if (wide->front() <= given->front()) return false;
  const std::int64_t rows = wide->front();
  for (std::size_t input = 0; input < shapes.size(); ++input) {
    Shape expected = bucket.inputs[input];
    if (has_rows(expected, rows)) expected.front() = given->front();
    if (shapes[input] != expected) return false;
  }
  return std::ranges::all_of(bucket.outputs,
                             [rows](const Shape& output) { return has_rows(output, rows); });
}

}  // namespace

Bucket* Buckets::find(std::span<const Shape> shapes) {
  ++uses_;
  const auto found = std::ranges::find_if(
      buckets_, [shapes](const Bucket& bucket) { return bucket.fits(shapes); });
  if (found == buckets_.end()) return nullptr;
  found->last_use = uses_;
  buckets_.splice(buckets_.begin(), buckets_, found);
  return &buckets_.front();
}

const Bucket* Buckets::find_wider(std::span<const Shape> shapes) const {
  const Bucket* best = nullptr;
  for (const auto& bucket : buckets_) {
    const bool fits = bucket.has_graph() && is_wider(bucket, shapes);
    if (fits && (best == nullptr || bucket.inputs < best->inputs)) best = &bucket;
  }
  return best;
}

Bucket& Buckets::add(Bucket bucket, bool replace) {
  bucket.last_use = uses_;
  if (buckets_.size() == kMostBuckets) {
    if (!replace && uses_ - buckets_.back().last_use <= kIdle) {
      bucket.capturable = false;
      return passing_.emplace(std::move(bucket));
    }
    buckets_.pop_back();
  }
  return buckets_.emplace_front(std::move(bucket));
}

void Buckets::drop(const Bucket& bucket) {
  buckets_.remove_if([&bucket](const Bucket& other) { return &other == &bucket; });
}

// What has no graph goes before what has one, unless that is idle. However many addresses callers
// come with, a bucket so captures at most kMostVariants graphs for them in kIdle runs, and in
// steady use none.
Variant& Buckets::variant(Bucket& bucket, std::span<const void* const> addresses,
                          bool has_callers) {
  auto& variants = bucket.variants;
  ++bucket.runs;
  const auto found = std::ranges::find_if(variants, [&](const Variant& variant) {
    return std::ranges::equal(variant.addresses, addresses);
  });
  if (found != variants.end()) {
    found->last_run = bucket.runs;
    variants.splice(variants.begin(), variants, found);
    return variants.front();
  }
  Variant made{{addresses.begin(), addresses.end()}, 0, {}, bucket.runs};
  if (variants.size() == kMostVariants) {
    auto victim = std::prev(variants.end());
    if (bucket.runs - victim->last_run <= kIdle) {
      const auto plain =
          std::ranges::find_if(variants.rbegin(), variants.rend(),
                               [](const Variant& variant) { return !variant.graph.has_value(); });
      if (plain != variants.rend()) {
        victim = std::next(plain).base();
      } else if (has_callers) {
        return bucket.passing = std::move(made);
      }
    }
    variants.erase(victim);
  }
  return variants.emplace_front(std::move(made));
}

void Buckets::drop_graphs() {
  for (auto& bucket : buckets_) bucket.variants.clear();
}

void Buckets::forget_runs(int profile, Role role) {
  for (auto& bucket : buckets_) {
    if (bucket.profile != profile) continue;
    if (role == Role::kGraphs) bucket.variants.clear();
    bucket.has_run[static_cast<std::size_t>(role)] = false;
  }
}

std::size_t Buckets::graphs() const {
  std::size_t count = 0;
  for (const auto& bucket : buckets_) {
    count += static_cast<std::size_t>(std::ranges::count_if(
        bucket.variants, [](const Variant& variant) { return variant.graph.has_value(); }));
  }
  return count;
}

}  // namespace trtfast
