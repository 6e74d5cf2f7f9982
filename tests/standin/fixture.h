// What the tests on the stand-in share: each runs once for each release of TensorRT, and ends with
// no rule broken, no object of TensorRT's alive, and no memory of CUDA's allocated.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/build.h"
#include "engine/engine.h"
#include "error.h"
#include "tensorrt/library.h"

namespace standin_test {

struct Release {
  const char* folder;   // of its libraries
  const char* core;     // the file's name
  const char* version;  // with the build
  const char* generation;
};

/// Every supported release that there is a stand-in for.
[[nodiscard]] const std::vector<Release>& releases();
[[nodiscard]] std::string path_of(const char* folder, const char* core);

/// What a stand-in library tells of itself.
class Recording {
 public:
  explicit Recording(const std::string& path);
  [[nodiscard]] std::string calls() const { return calls_(); }
  [[nodiscard]] std::string violations() const { return violations_(); }
  [[nodiscard]] std::string live_objects() const { return live_objects_(); }
  [[nodiscard]] std::size_t count(const char* method) const { return count_(method); }
  void forget() const { reset_(); }  // all but the objects

 private:
  const char* (*calls_)() noexcept = nullptr;
  const char* (*violations_)() noexcept = nullptr;
  const char* (*live_objects_)() noexcept = nullptr;
  std::size_t (*count_)(const char*) noexcept = nullptr;
  void (*reset_)() noexcept = nullptr;
};

/// A variable of the environment: where it is set, nothing has used CUDA when a test begins.
inline constexpr const char* kUnused = "STANDIN_UNUSED";

using Values = std::vector<float>;

class StandinTest : public testing::TestWithParam<Release> {
 protected:
  void SetUp() override;
  void TearDown() override;

  [[nodiscard]] bool is_rtx() const;
  /// Builds a model with the release under test.
  std::vector<std::byte> build(const std::string& model,
                               const std::vector<trtfast::Profile>& profiles = {});
  [[nodiscard]] std::unique_ptr<trtfast::Engine> load(std::span<const std::byte> plan,
                                                      int lanes = 2, int device = 0);
  [[nodiscard]] std::unique_ptr<trtfast::Engine> load(std::span<const std::byte> plan,
                                                      const trtfast::EngineOptions& options) const;

  std::shared_ptr<const trtfast::tensorrt::Library> library_;
  std::unique_ptr<Recording> recording_;
};

[[nodiscard]] std::span<const std::byte> bytes_of(const std::string& text);

/// The plan of a model of the stand-in's format (library/model.h).
[[nodiscard]] std::vector<std::byte> plan_of(
    const std::shared_ptr<const trtfast::tensorrt::Library>& library, const std::string& model,
    const trtfast::BuildOptions& options = {});

/// A range of one input, as a profile.
[[nodiscard]] trtfast::Profile profile(const std::string& input, const trtfast::Shape& min,
                                       const trtfast::Shape& opt, const trtfast::Shape& max);

template <class T>
trtfast::TensorView view(const std::vector<T>& values, const trtfast::Shape& shape,
                         trtfast::DataType dtype = trtfast::DataType::kFloat) {
  return {reinterpret_cast<const std::byte*>(values.data()), shape, dtype};
}

template <class T = float>
std::vector<T> values_of(const trtfast::Tensor& tensor) {
  std::vector<T> values(trtfast::byte_size(tensor.shape, tensor.dtype) / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.get(), values.size() * sizeof(T));
  return values;
}

/// Runs an engine of one input and one output.
[[nodiscard]] Values run(trtfast::Engine& engine, const Values& input, const trtfast::Shape& shape);

/// Runs a function that must throw an Error of this type, and returns the error.
template <class Failure, class Function>
Failure thrown_by(Function&& function) {
  try {
    std::forward<Function>(function)();
  } catch (const trtfast::Error& error) {
    if constexpr (std::is_same_v<Failure, trtfast::Error>) {
      return error;
    } else {
      if (const auto* wanted = dynamic_cast<const Failure*>(&error)) return *wanted;
      ADD_FAILURE() << "a wrong error, " << error.kind() << ": " << error.what();
      throw;
    }
  }
  ADD_FAILURE() << "no error";
  throw std::logic_error("no error");
}

inline void PrintTo(const Release& release, std::ostream* stream) { *stream << release.folder; }

inline std::string release_name(const testing::TestParamInfo<Release>& info) {
  std::string name = info.param.folder;
  for (char& c : name) c = c == '.' ? '_' : c;
  return name;
}

}  // namespace standin_test

#define INSTANTIATE_FOR_RELEASES(Suite)                                             \
  INSTANTIATE_TEST_SUITE_P(All, Suite, testing::ValuesIn(standin_test::releases()), \
                           standin_test::release_name)
