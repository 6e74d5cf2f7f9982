// The bytes of a plan.
#include <cstring>
#include <numeric>

#include "model.h"
#include "release.h"

namespace standin {
namespace {

constexpr std::size_t kHeader = 64;
constexpr std::size_t kSizeAt = 16;
constexpr std::size_t kVersionAt = 24;
constexpr std::size_t kSumAt = 48;  // ours: no plan of TensorRT's has it

std::uint64_t checksum(const char* text, std::size_t size) noexcept {
  return std::accumulate(text, text + size, std::uint64_t{14695981039346656037U},
                         [](std::uint64_t sum, char c) {
                           return (sum ^ static_cast<unsigned char>(c)) * 1099511628211U;
                         });
}

std::string version_bytes() {
  const auto byte = [](int value) { return static_cast<char>(value); };
  const auto version = kRelease.version;
  return {byte(version.major()), byte(version.minor()), byte(version.patch()),
          byte(kRelease.build)};
}

template <class T>
T value_at(const char* bytes, std::size_t offset) noexcept {
  T value;
  std::memcpy(&value, bytes + offset, sizeof(value));
  return value;
}

}  // namespace

std::string make_plan(const std::string& text) {
  std::string plan(kHeader, '\0');
  plan.replace(0, 4, kRelease.rtx() ? "vtrt" : "ftrt");
  const std::uint64_t size = kHeader + text.size();
  const std::uint64_t sum = checksum(text.data(), text.size());
  std::memcpy(plan.data() + kSizeAt, &size, sizeof(size));
  plan.replace(kVersionAt, 4, version_bytes());
  std::memcpy(plan.data() + kSumAt, &sum, sizeof(sum));
  return plan + text;
}

std::optional<std::string> open_plan(const void* bytes, std::size_t size, std::string& text) {
  const auto* data = static_cast<const char*>(bytes);
  if (size < kHeader || std::memcmp(data, kRelease.rtx() ? "vtrt" : "ftrt", 4) != 0) {
    return "Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG "
           "failed)";
  }
  if (std::memcmp(data + kVersionAt, version_bytes().data(), 4) != 0) {
    return "Error Code 6: API Usage Error (The engine plan file is not compatible with this "
           "version "
           "of TensorRT, expecting library version " +
           std::to_string(kRelease.version.number) + ", please rebuild.)";
  }
  const char* body = data + kHeader;
  if (value_at<std::uint64_t>(data, kSizeAt) != size ||
      value_at<std::uint64_t>(data, kSumAt) != checksum(body, size - kHeader)) {
    return "Error Code 1: Serialization (the plan is damaged)";
  }
  text.assign(body, size - kHeader);
  return std::nullopt;
}

}  // namespace standin
