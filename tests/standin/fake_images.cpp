// What images become, on the CPU.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fake_kernels.h"
#include "kernels/preprocess.h"

namespace trtfast::kernels {
namespace {

/// What preprocess() was called with.
struct Call {
  const Source* sources;
  std::int64_t count;
  const std::int32_t* tables;
  const float* normalized;
  Format format;
  void* output;
  tensorrt::DataType dtype;
};

struct Pixel {
  int rgb[3];  // NOLINT(modernize-avoid-c-arrays): as the kernels have it
};

Pixel resampled(const Source& source, const Taps& rows, const Taps& columns, const Format& format) {
  Pixel pixel{{format.fill[0], format.fill[1], format.fill[2]}};
  if (rows.count() == 0 || columns.count() == 0) return pixel;
  switch (source.arithmetic) {
#define TRTFAST_RESAMPLE(name)                                             \
  case Arithmetic::name:                                                   \
    resample_directly<Arithmetic::name>(source, rows, columns, pixel.rgb); \
    break
    TRTFAST_RESAMPLE(kCopy);
    TRTFAST_RESAMPLE(kLinear);
    TRTFAST_RESAMPLE(kCubic);
    TRTFAST_RESAMPLE(kLanczos);
    TRTFAST_RESAMPLE(kArea);
    TRTFAST_RESAMPLE(kBox);
    TRTFAST_RESAMPLE(kPillow);
#undef TRTFAST_RESAMPLE
  }
  return pixel;
}

int channel_of(const Pixel& pixel, Channels channels, int channel) {
  const auto& [red, green, blue] = pixel.rgb;
  if (channels == Channels::kGray) return grey(red, green, blue);
  return pixel.rgb[channels == Channels::kBgr ? 2 - channel : channel];
}

void make_image(const Call& call, std::int64_t image) {
  const Source& source = call.sources[image];
  const Format& format = call.format;
  const auto depth = static_cast<std::size_t>(format.depth());
  const auto width = static_cast<std::size_t>(format.width);
  const std::size_t plane = format.values() / depth;
  const auto index_of = [&](int row, int column, std::size_t channel) {
    const std::size_t pixel =
        (static_cast<std::size_t>(row) * width) + static_cast<std::size_t>(column);
    return format.layout == Layout::kNchw ? (channel * plane) + pixel : (pixel * depth) + channel;
  };
  std::vector<int> values(format.values());
  for (int row = 0; row < format.height; ++row) {
    const Taps rows = taps_at(call.tables, source.rows, row);
    for (int column = 0; column < format.width; ++column) {
      const Taps columns = taps_at(call.tables, source.columns, column);
      const Pixel pixel = resampled(source, rows, columns, format);
      for (std::size_t channel = 0; channel < depth; ++channel) {
        values[index_of(row, column, channel)] =
            channel_of(pixel, format.channels, static_cast<int>(channel));
      }
    }
  }
  const auto [least, most] = std::ranges::minmax(values);
  const std::size_t first = static_cast<std::size_t>(image) * format.values();
  for (std::size_t at = 0; at < values.size(); ++at) {
    const std::size_t channel = format.layout == Layout::kNchw ? at / plane : at % depth;
    const auto value = static_cast<std::size_t>(values[at]);
    if (call.dtype == tensorrt::DataType::kUint8) {
      static_cast<std::uint8_t*>(call.output)[first + at] = static_cast<std::uint8_t>(value);
    } else if (call.normalized != nullptr) {
      static_cast<float*>(call.output)[first + at] = call.normalized[(channel * 256) + value];
    } else {
      static_cast<float*>(call.output)[first + at] =
          static_cast<float>((values[at] - least) / (static_cast<double>(most - least) + 1e-4));
    }
  }
}

}  // namespace

bool can_preprocess_to(tensorrt::DataType dtype) noexcept {
  return dtype == tensorrt::DataType::kFloat || dtype == tensorrt::DataType::kUint8;
}

void preprocess(const Source* sources, std::int64_t count, const Kinds& kinds,
                const std::int32_t* tables, const float* normalized, const Format& format,
                const Scratch& scratch, void* output, tensorrt::DataType dtype,
                cudaStream_t stream) {
  const Call call{sources, count, tables, normalized, format, output, dtype};
  const std::size_t values = static_cast<std::size_t>(count) * format.values();
  const std::size_t item = tensorrt::item_size(dtype);
  std::vector<fake_cuda::Range> used = {range_of(sources, count),
                                        fake_cuda::range_of(output, values * item)};
  if (normalized != nullptr) {
    const std::size_t entries = static_cast<std::size_t>(format.depth()) * 256;
    used.push_back(fake_cuda::range_of(normalized, entries * sizeof(float)));
  } else if (item > 1) {
    used.push_back(fake_cuda::range_of(scratch.pixels, values));
    used.push_back(fake_cuda::range_of(scratch.extremes,
                                       static_cast<std::size_t>(count) * 2 * sizeof(std::int32_t)));
  }
  launch("kernels::preprocess", stream, std::move(used), [=] {
    for (std::int64_t image = 0; image < call.count; ++image) {
      const Source& source = call.sources[image];
      if (!kinds.has(kind_of(source.arithmetic))) continue;  // not launched
      const std::size_t bytes =
          static_cast<std::size_t>(source.height) * static_cast<std::size_t>(source.width) * 3;
      const auto pixels = fake_cuda::range_of(source.pixels, bytes);
      if (!pixels.on_device() || !pixels.inside) {
        fake_cuda::fault("kernels::preprocess: an image's pixels are out of bounds");
        return;
      }
      make_image(call, image);
    }
  });
}

}  // namespace trtfast::kernels
