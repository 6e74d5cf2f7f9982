// Requests that wait to be run together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "engine/batch.h"

namespace trtfast {

/// Requests that fit into one batch, in the order of their arrival.
struct BatchGroup {
  std::shared_ptr<const images::Recipe> recipe;
  std::vector<Shape> shapes;  // of the inputs; their rows count for nothing
  std::list<std::shared_ptr<BatchItem>> items = {};
  std::int64_t rows = 0;
  std::int64_t claims = 0;  // threads that are about to take a batch of it

  [[nodiscard]] bool takes(const BatchItem& item) const {
    const auto alike = [](const TensorView& input, const Shape& shape) {
      return std::equal(input.shape.begin() + 1, input.shape.end(), shape.begin() + 1, shape.end());
    };
    return recipe == item.recipe && std::ranges::equal(item.inputs, shapes, alike);
  }

  /// Rows that claims of so many each leave; fewer than none where a claim has room for more.
  [[nodiscard]] std::int64_t unclaimed(std::int64_t each) const { return rows - (claims * each); }
};

}  // namespace trtfast
