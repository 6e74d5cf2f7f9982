#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tensorrt/abi.h"
#include "tensorrt/callbacks.h"
#include "tensorrt/log.h"

namespace trtfast::test {
namespace {

using tensorrt::BuildProgress;
using tensorrt::Dims;
using tensorrt::ErrorScope;
using tensorrt::Generation;
using tensorrt::InterfaceInfo;
using tensorrt::Logger;
using tensorrt::OutputAllocator;
using tensorrt::Profiler;
using tensorrt::ProgressMonitor;
using tensorrt::Severity;
using tensorrt::StreamWriter;

constexpr Generation kGenerations[] = {Generation::kTrt10, Generation::kTrt11, Generation::kRtx14,
                                       Generation::kRtx15};

// Calls a virtual method as TensorRT's compiled code does: by its slot, on a bare address.
template <class Result, class... Args>
Result call_slot(void* object, std::size_t slot, Args... args) {
  auto* const* vtable = *static_cast<void* const* const*>(object);
  return reinterpret_cast<Result (*)(void*, Args...)>(vtable[slot])(object, args...);
}

// Slots of IVersionedInterface, which begin every versioned callback.
constexpr std::size_t kLanguage = 0;
constexpr std::size_t kInfo = 1;
constexpr std::size_t kFirst = 4;  // after the two destructors

void expect_interface(void* object, const char* kind) {
  EXPECT_EQ(call_slot<std::int32_t>(object, kLanguage), 0);  // C++
  const auto info = call_slot<InterfaceInfo>(object, kInfo);
  EXPECT_STREQ(info.kind, kind);
  EXPECT_EQ(info.major, 1);
  EXPECT_EQ(info.minor, 0);
}

class LoggerShape : public testing::TestWithParam<std::pair<Generation, bool>> {};

TEST_P(LoggerShape, LogLiesInTheGenerationsSlot) {
  const auto [generation, plain] = GetParam();
  const Logger logger(generation);
  if (!plain) expect_interface(logger.object(), "ILogger");
  const ErrorScope scope;
  call_slot<void>(logger.object(), plain ? 0 : kFirst, Severity::kError, "an error");
  call_slot<void>(logger.object(), plain ? 0 : kFirst, Severity::kWarning, "a warning");
  EXPECT_EQ(scope.errors(), "an error");
}

INSTANTIATE_TEST_SUITE_P(Generations, LoggerShape,
                         testing::Values(std::pair(Generation::kTrt10, true),
                                         std::pair(Generation::kTrt11, false),
                                         std::pair(Generation::kRtx14, true),
                                         std::pair(Generation::kRtx15, false)),
                         [](const auto& chosen) { return std::string(name(chosen.param.first)); });

TEST(Logger, LinesReachTheQueue) {
  const Logger logger(Generation::kTrt10);
  call_slot<void>(logger.object(), 0, Severity::kWarning, "for the queue");
  bool found = false;
  for (const auto& line : tensorrt::LogQueue::instance().take()) {
    found = found || (line.text == "for the queue" && line.severity == Severity::kWarning);
  }
  EXPECT_TRUE(found);
}

class Sink final : public tensorrt::OutputSink {
 public:
  void* provide(std::size_t bytes) noexcept override {
    asked = bytes;
    return memory;
  }
  void set_shape(const Dims& dims) noexcept override { shape = dims; }

  int target = 0;
  void* memory = &target;
  std::size_t asked = 0;
  Dims shape{};
};

TEST(OutputAllocator, HasTensorRtsShape) {
  for (const auto generation : {Generation::kTrt10, Generation::kTrt11}) {
    Sink sink;
    const OutputAllocator allocator(generation, sink);
    expect_interface(allocator.object(), "IOutputAllocator");
    EXPECT_EQ((call_slot<void*, const char*, void*, std::uint64_t, std::uint64_t>(
                  allocator.object(), kFirst, "y", nullptr, 96, 256)),
              sink.memory);
    EXPECT_EQ(sink.asked, 96U);
    EXPECT_EQ((call_slot<void*, const char*, void*, std::uint64_t, std::uint64_t, void*>(
                  allocator.object(), kFirst + 1, "y", nullptr, 128, 256, nullptr)),
              sink.memory);
    EXPECT_EQ(sink.asked, 128U);
    const Dims dims{2, {3, 5}};
    call_slot<void, const char*, const Dims&>(allocator.object(), kFirst + 2, "y", dims);
    EXPECT_EQ(sink.shape.nb, 2);
    EXPECT_EQ(sink.shape.d[1], 5);
  }
}

TEST(OutputAllocator, HasTensorRtRtxsShapeWithoutTheOldMethod) {
  for (const auto generation : {Generation::kRtx14, Generation::kRtx15}) {
    Sink sink;
    const OutputAllocator allocator(generation, sink);
    expect_interface(allocator.object(), "IOutputAllocator");
    EXPECT_EQ((call_slot<void*, const char*, void*, std::uint64_t, std::uint64_t, void*>(
                  allocator.object(), kFirst, "y", nullptr, 128, 256, nullptr)),
              sink.memory);
    EXPECT_EQ(sink.asked, 128U);
    const Dims dims{1, {4}};
    call_slot<void, const char*, const Dims&>(allocator.object(), kFirst + 1, "y", dims);
    EXPECT_EQ(sink.shape.nb, 1);
    EXPECT_EQ(sink.shape.d[0], 4);
  }
}

TEST(Profiler, HasTheGenerationsShape) {
  for (const auto generation : kGenerations) {
    std::vector<std::pair<std::string, float>> told;
    const Profiler profiler(generation, [&](const char* layer, float milliseconds) {
      told.emplace_back(layer, milliseconds);
      if (told.size() == 2) throw std::runtime_error("the function's own");
    });
    const bool plain = generation == Generation::kTrt10 || generation == Generation::kRtx14;
    if (!plain) expect_interface(profiler.object(), "IProfiler");
    for (const char* layer : {"first", "second"}) {
      call_slot<void, const char*, float>(profiler.object(), plain ? 0 : kFirst, layer, 2.5F);
    }
    EXPECT_THAT(told,
                testing::ElementsAre(testing::Pair("first", 2.5F), testing::Pair("second", 2.5F)));
  }
}

TEST(StreamWriter, PassesBytesOnAndTellsHowMany) {
  std::string written;
  const StreamWriter writer([&](std::span<const std::byte> bytes) {
    written.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return written.size() <= 6;
  });
  expect_interface(writer.object(), "IStreamWriter");
  const auto write = [&](const void* data, std::int64_t bytes) {
    return call_slot<std::int64_t, const void*, std::int64_t>(writer.object(), kFirst, data, bytes);
  };
  EXPECT_EQ(write("abc", 3), 3);
  EXPECT_EQ(write("def", 3), 3);
  EXPECT_EQ(written, "abcdef");
  EXPECT_EQ(write("g", -1), -1);
  EXPECT_EQ(written, "abcdef");
  EXPECT_EQ(write("g", 1), -1);  // the function takes no more
}

TEST(StreamWriter, ExceptionsNeverCross) {
  const StreamWriter writer(
      [](std::span<const std::byte>) -> bool { throw std::runtime_error("the function's own"); });
  EXPECT_EQ((call_slot<std::int64_t, const void*, std::int64_t>(writer.object(), kFirst, "a", 1)),
            -1);
}

TEST(OutputAllocator, KeepsItsAddressWhenItIsMoved) {
  for (const auto generation : kGenerations) {
    Sink sink;
    OutputAllocator allocator(generation, sink);
    void* const address = allocator.object();
    const OutputAllocator moved(std::move(allocator));
    EXPECT_EQ(moved.object(), address);
  }
}

TEST(OutputAllocator, PassesOnThatThereIsNoMemory) {
  Sink sink;
  sink.memory = nullptr;
  const OutputAllocator allocator(Generation::kRtx15, sink);
  EXPECT_EQ((call_slot<void*, const char*, void*, std::uint64_t, std::uint64_t, void*>(
                allocator.object(), kFirst, "y", nullptr, 8, 256, nullptr)),
            nullptr);
}

// IProgressMonitor's methods.
struct Monitor {
  void start(const char* phase, const char* parent, std::int32_t steps) const {
    call_slot<void, const char*, const char*, std::int32_t>(object, kFirst, phase, parent, steps);
  }
  [[nodiscard]] bool step(const char* phase, std::int32_t at) const {
    return call_slot<bool, const char*, std::int32_t>(object, kFirst + 1, phase, at);
  }
  void finish(const char* phase) const { call_slot<void, const char*>(object, kFirst + 2, phase); }
  void* object;
};

auto is_step(const std::string& phase, const std::string& parent, int step, int steps) {
  return testing::AllOf(
      testing::Field(&BuildProgress::phase, phase), testing::Field(&BuildProgress::parent, parent),
      testing::Field(&BuildProgress::step, step), testing::Field(&BuildProgress::steps, steps));
}

TEST(ProgressMonitor, TellsPhasesAndSteps) {
  std::vector<BuildProgress> told;
  const ProgressMonitor owner([&](const BuildProgress& step) {
    told.push_back(step);
    return true;
  });
  const Monitor monitor{owner.object()};
  expect_interface(owner.object(), "IProgressMonitor");
  monitor.start("outer", nullptr, 2);
  monitor.start("inner", "outer", 5);
  EXPECT_TRUE(monitor.step("inner", 3));
  monitor.finish("inner");
  EXPECT_TRUE(monitor.step("outer", 0));
  monitor.finish("outer");
  EXPECT_THAT(told,
              testing::ElementsAre(is_step("outer", "", -1, 2), is_step("inner", "outer", -1, 5),
                                   is_step("inner", "outer", 3, 5), is_step("inner", "outer", 5, 5),
                                   is_step("outer", "", 0, 2), is_step("outer", "", 2, 2)));
}

TEST(ProgressMonitor, TakesAStepOfAPhaseThatNeverStarted) {
  std::vector<BuildProgress> told;
  const ProgressMonitor owner([&](const BuildProgress& step) {
    told.push_back(step);
    return true;
  });
  EXPECT_TRUE(Monitor{owner.object()}.step("unknown", 1));
  EXPECT_THAT(told, testing::ElementsAre(is_step("unknown", "", 1, 0)));
}

TEST(ProgressMonitor, AnswerOfFalseCancels) {
  bool go = true;
  const ProgressMonitor owner([&](const BuildProgress& /*step*/) { return go; });
  const Monitor monitor{owner.object()};
  monitor.start("phase", nullptr, 2);
  EXPECT_TRUE(monitor.step("phase", 0));
  go = false;
  EXPECT_FALSE(monitor.step("phase", 1));
}

TEST(ProgressMonitor, ExceptionsNeverCrossAndCancel) {
  int calls = 0;
  const ProgressMonitor owner([&](const BuildProgress& /*step*/) -> bool {
    ++calls;
    throw std::runtime_error("the function's own");
  });
  const Monitor monitor{owner.object()};
  EXPECT_NO_THROW(monitor.start("phase", nullptr, 2));
  EXPECT_FALSE(monitor.step("phase", 0));
  EXPECT_NO_THROW(monitor.finish("phase"));
  EXPECT_EQ(calls, 3);
}

TEST(ProgressMonitor, TakesPhasesOfSeveralThreads) {
  std::atomic<int> wrong = 0;
  const ProgressMonitor owner([&](const BuildProgress& step) {
    if (step.parent != "all" || step.steps != 100) ++wrong;
    return true;
  });
  const Monitor monitor{owner.object()};
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&monitor, phase = std::to_string(thread)] {
        monitor.start(phase.c_str(), "all", 100);
        for (int step = 0; step < 100; ++step) ASSERT_TRUE(monitor.step(phase.c_str(), step));
        monitor.finish(phase.c_str());
      });
    }
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace trtfast::test
