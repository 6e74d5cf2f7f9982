#include "engine/batch.h"

#include <iterator>
#include <optional>
#include <utility>

#include "engine/engine.h"

namespace trtfast {
namespace {

/// A batch as an engine takes it. Points to the items.
struct Gathered {
  std::vector<std::vector<Piece>> pieces;  // of each input
  std::optional<images::Batch> images;
  std::vector<Share> shares;
  Request request;
};

void gather_tensors(Gathered& gathered, const BatchItems& items, std::int64_t rows) {
  const auto& first = items.front()->inputs;
  gathered.pieces.resize(first.size());
  for (std::size_t input = 0; input < first.size(); ++input) {
    auto& pieces = gathered.pieces[input];
    std::size_t at = 0;
    for (const auto& item : items) {
      const TensorView& part = item->inputs[input];
      const std::size_t bytes = byte_size(part.shape, part.dtype);
      pieces.push_back({at, part.data, bytes});
      at += bytes;
    }
    TensorView whole{nullptr, first[input].shape, first[input].dtype};
    whole.shape.front() = rows;
    whole.pieces = pieces;
    gathered.request.inputs.push_back(std::move(whole));
  }
}

void gather_images(Gathered& gathered, const BatchItems& items, const Engine& engine) {
  std::vector<images::Image> all;
  for (const auto& item : items) {
    all.insert(all.end(), item->images.begin(), item->images.end());
  }
  gathered.images.emplace(items.front()->recipe, std::move(all));
  gathered.request = engine.image_request(*gathered.images);
}

void gather(Gathered& gathered, const BatchItems& items, const Engine& engine) {
  std::int64_t rows = 0;
  for (const auto& item : items) {
    rows += item->rows();
    gathered.shares.push_back({item->rows(), &item->outputs});
  }
  if (items.front()->recipe != nullptr) {
    gather_images(gathered, items, engine);
  } else {
    gather_tensors(gathered, items, rows);
  }
  gathered.request.shares = gathered.shares;
}

}  // namespace

void EngineRunner::run(const std::function<const BatchItems&()>& take, Timeline& times) {
  Gathered gathered;
  engine_->infer_batch(
      [&]() -> const Request* {
        const BatchItems& items = take();
        if (items.empty()) return nullptr;
        gather(gathered, items, *engine_);
        return &gathered.request;
      },
      times);
}

}  // namespace trtfast
