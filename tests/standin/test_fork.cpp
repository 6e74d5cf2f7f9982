// A child that was forked after the GPU's first use is told that it cannot use it, and can end.
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "cuda/check.h"
#include "cuda/device.h"
#include "serving_test.h"

namespace standin_test {
namespace {

/// Runs a function in a forked child, and returns the code that it ends with: 255 for an exception,
/// and -1 where it does not end.
int in_child(const std::function<int()>& function) {
  constexpr unsigned kPatience = 20;  // seconds
  const pid_t child = fork();
  if (child == 0) {
    alarm(kPatience);
    int code = 255;
    try {
      code = function();
    } catch (...) {  // NOLINT(bugprone-empty-catch): told by the code
    }
    _exit(code);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// 42 where a child's call is refused with the error that speaks of the fork.
int refusal(const std::function<void()>& call) {
  return in_child([&] {
    try {
      call();
      return 1;
    } catch (const trtfast::CudaError& error) {
      return std::string(error.what()).find("does not survive a fork") != std::string::npos ? 42
                                                                                            : 2;
    }
  });
}

class ForkOnStandin : public ServingTest {};
INSTANTIATE_FOR_RELEASES(ForkOnStandin);

TEST_P(ForkOnStandin, AChildIsToldThatCudaDoesNotSurvive) {
  const auto engine = load_twice();
  const Values input = rows(2);
  const Request request{{view(input, {2, 2})}};
  EXPECT_TRUE(is_right(*engine, input));
  EXPECT_EQ(refusal([&] { static_cast<void>(engine->infer(request)); }), 42);
  EXPECT_EQ(refusal([&] { engine->infer_async(request, {}, [](const auto&) {}); }), 42);
  EXPECT_EQ(refusal([&] { engine->warm_up({}); }), 42);
  EXPECT_EQ(refusal([&] {
              const std::vector<Shape> shapes = {{2, 2}};
              static_cast<void>(engine->output_shapes(shapes));
            }),
            42);
  EXPECT_EQ(refusal([&] { static_cast<void>(load_twice()); }), 42);
  EXPECT_EQ(refusal([] { static_cast<void>(trtfast::cuda::devices()); }), 42);
  EXPECT_TRUE(is_right(*engine, input)) << "the parent goes on";
}

// The parent is a process of its own, for this one has used CUDA.
TEST_P(ForkOnStandin, AChildMayUseCudaWhereItsParentHasNot) {
  if (std::getenv(kUnused) == nullptr) {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    const std::string filter =
        std::string("--gtest_filter=") + test->test_suite_name() + "." + test->name();
    ASSERT_EQ(in_child([&] {
                setenv(kUnused, "1", 1);
                // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): a function of C's
                execl("/proc/self/exe", "standin_tests", "--gtest_brief=1", filter.c_str(),
                      nullptr);
                return 1;
              }),
              0);
    return;
  }
  const auto serve = [&] {
    fake_cuda::keep();
    {
      const auto engine = load_twice();
      if (!is_right(*engine, rows(3)) || !is_right(*engine, rows(3, 1))) return 1;
      if (engine->stats().graph_hits != 1) return 2;
    }
    return fake_cuda::leaks().find("graphs") == std::string::npos ? 42 : 3;
  };
  ASSERT_EQ(in_child(serve), 42);
  ASSERT_EQ(in_child(serve), 42) << "the child's use is not the parent's";
  ASSERT_EQ(serve(), 42);
  ASSERT_EQ(refusal(serve), 42);
}

// As where another library has: what the core cannot know, CUDA tells.
TEST_P(ForkOnStandin, AnErrorOfCudasInAChildIsExplained) {
  const auto told = [] { TRTFAST_CUDA(cudaErrorInitializationError); };
  EXPECT_EQ(refusal(told), 42);
  const auto error = thrown_by<trtfast::CudaError>(told);
  EXPECT_THAT(error.what(), testing::Not(HasSubstr("a fork"))) << "this process was not forked";
}

TEST_P(ForkOnStandin, AChildMayCloseTheEngineThatItsParentUses) {
  fake_cuda::set_late(true);
  const auto engine = load_twice();
  const Values input = rows(2);
  Gate gate;
  std::atomic<int> told = 0;
  Request request{{view(input, {2, 2})}};
  request.inputs_ready = gate.event();
  engine->infer_async(request, {}, [&](const auto&) { ++told; });
  gate.wait();  // a lane is out, and a thread of the engine's waits
  EXPECT_EQ(in_child([&] {
              const int destroyed = calls_of("cudaStreamDestroy", [&] { engine->close(); });
              return destroyed == 0 && told == 0 ? 42 : 1;
            }),
            42);
  gate.open();
  engine->close();
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace standin_test
