// Calls that run in the background: what is under way, and what has come of it.
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "bindings/arrays.h"
#include "error.h"

namespace trtfast::bindings {
namespace {

/// A call under way. Its Python objects are let go with the GIL, in take_completed() or cancel().
struct Pending {
  std::shared_ptr<Engine> engine;
  Arguments arguments;
  py::object future;
  AsyncCalls::Outcome outcome;
};

/// The calls that have ended and whose futures do not know yet, of all engines. A thread of
/// Python's empties it, so that no lane ever waits for the GIL.
class Completions {
 public:
  static Completions& instance() {
    static auto* completions = new Completions;  // leaked: a call may end while the process does
    return *completions;
  }

  void add(std::shared_ptr<Pending> pending) {
    {
      const std::scoped_lock lock(mutex_);
      ended_.push_back(std::move(pending));
    }
    changed_.notify_one();
  }

  /// Waits; returns nothing once it is closed.
  std::deque<std::shared_ptr<Pending>> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !ended_.empty(); });
    return std::exchange(ended_, {});
  }

  void close() {
    {
      const std::scoped_lock lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Pending>> ended_;
  bool closed_ = false;
};

/// What a future holds to take its call back.
class PendingCall {
 public:
  PendingCall(const std::shared_ptr<Pending>& pending, std::uint64_t number)
      : pending_(pending), number_(number) {}

  bool cancel() {
    const auto pending = pending_.lock();
    if (pending == nullptr || pending->engine == nullptr) return false;
    bool taken = false;
    {
      const auto engine = pending->engine;
      const ReleasedGil released;
      taken = engine->cancel(number_);
    }
    if (taken) let_go(*pending);
    return taken;
  }

  static void let_go(Pending& pending) {
    pending.arguments = {};
    pending.future = {};
    pending.engine = {};
  }

 private:
  std::weak_ptr<Pending> pending_;
  std::uint64_t number_;
};

std::optional<PendingCall> infer_async(const std::shared_ptr<Engine>& engine,
                                       const py::object& inputs, const py::object& future,
                                       const std::optional<double>& seconds) {
  const Deadline deadline = deadline_of(seconds);
  auto arguments = read_arguments(*engine, inputs, py::none(), std::nullopt);
  if (!arguments) return std::nullopt;
  const auto pending =
      std::make_shared<Pending>(Pending{engine, std::move(*arguments), future, {}});
  std::uint64_t number = 0;
  try {
    const ReleasedGil released;
    pending->arguments.request.inputs_ready = pending->arguments.ready();
    number = engine->infer_async(pending->arguments.request, deadline,
                                 [pending](AsyncCalls::Outcome outcome) {
                                   pending->outcome = std::move(outcome);
                                   Completions::instance().add(pending);
                                 });
  } catch (...) {
    PendingCall::let_go(*pending);
    throw;
  }
  return PendingCall(pending, number);
}

/// (future, results or None, exception or None) of each call that has ended.
std::vector<py::tuple> take_completed() {
  std::deque<std::shared_ptr<Pending>> ended;
  {
    const ReleasedGil released;
    ended = Completions::instance().take();
  }
  std::vector<py::tuple> taken;
  taken.reserve(ended.size());
  for (const auto& pending : ended) {
    py::object results = py::none();
    py::object error = py::none();
    try {
      if (pending->outcome.error) std::rethrow_exception(pending->outcome.error);
      results =
          to_results(*pending->engine, pending->arguments, std::move(pending->outcome.outputs));
    } catch (...) {
      error = exception_of(std::current_exception());
    }
    taken.push_back(py::make_tuple(pending->future, results, error));
    PendingCall::let_go(*pending);
  }
  return taken;
}

}  // namespace

void register_async(py::module_& module) {
  py::class_<PendingCall>(module, "PendingCall", "A call under way.")
      .def("cancel", &PendingCall::cancel, "Takes the call back; False where it has begun.");
  module.def("infer_async", &infer_async, py::arg("engine"), py::arg("inputs"), py::arg("future"),
             py::arg("deadline"),
             "Begins a call; None where inputs are not exactly what the engine takes.");
  module.def(
      "take_completed", &take_completed,
      "Waits for calls that have ended, as (future, results, exception); empty once closed.");
  module.def(
      "close_completions", [] { Completions::instance().close(); },
      "Lets take_completed() return for good.");
}

}  // namespace trtfast::bindings
