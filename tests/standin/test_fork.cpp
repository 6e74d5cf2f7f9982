// A child that was forked is told that it cannot use the GPU, and can end.
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <functional>
#include <memory>
#include <string>

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

class ForkOnStandin : public ServingTest {};
INSTANTIATE_FOR_RELEASES(ForkOnStandin);

TEST_P(ForkOnStandin, AChildIsToldThatCudaDoesNotSurvive) {
  const auto engine = load_twice();
  const Values input = rows(2);
  const Request request{{view(input, {2, 2})}};
  EXPECT_TRUE(is_right(*engine, input));
  const auto refuses = [](const std::function<void()>& call) {
    return in_child([&] {
      try {
        call();
        return 1;
      } catch (const trtfast::CudaError& error) {
        return std::string(error.what()).find("does not survive a fork") != std::string::npos ? 42
                                                                                              : 2;
      }
    });
  };
  EXPECT_EQ(refuses([&] { static_cast<void>(engine->infer(request)); }), 42);
  EXPECT_EQ(refuses([&] { engine->infer_async(request, {}, [](const auto&) {}); }), 42);
  EXPECT_EQ(refuses([&] { engine->warm_up({}); }), 42);
  EXPECT_EQ(refuses([&] {
              const std::vector<Shape> shapes = {{2, 2}};
              static_cast<void>(engine->output_shapes(shapes));
            }),
            42);
  EXPECT_TRUE(is_right(*engine, input)) << "the parent goes on";
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
