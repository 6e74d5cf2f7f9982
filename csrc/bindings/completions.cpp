#include "bindings/completions.h"

#include <condition_variable>
#include <deque>
#include <mutex>

namespace trtfast::bindings {
namespace {

/// The calls that have ended and whose futures do not know yet, of all engines. A thread of
/// Python's empties it, so that no lane ever waits for the GIL.
class Completions {
 public:
  static Completions& instance() {
    static auto* completions = new Completions;  // leaked: a call may end while the process does
    return *completions;
  }

  void add(std::shared_ptr<Pending> pending) {
    bool was_empty = false;
    {
      const std::scoped_lock lock(mutex_);
      was_empty = ended_.empty();
      ended_.push_back(std::move(pending));
    }
    if (was_empty) changed_.notify_one();
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
          to_results(*pending->outputs, pending->arguments, std::move(pending->outcome.outputs));
    } catch (...) {
      error = exception_of(std::current_exception());
    }
    taken.push_back(py::make_tuple(pending->future, results, error));
    let_go(*pending);
  }
  return taken;
}

}  // namespace

void complete(const std::shared_ptr<Pending>& pending, Outcome outcome) {
  pending->outcome = std::move(outcome);
  Completions::instance().add(pending);
}

void let_go(Pending& pending) {
  pending.arguments = {};
  pending.future = {};
  pending.outputs = {};
}

bool PendingCall::cancel() {
  const auto pending = pending_.lock();
  if (pending == nullptr || pending->outputs == nullptr) return false;
  bool taken = false;
  {
    const auto owner = pending->outputs;
    const ReleasedGil released;
    taken = take_back_();
  }
  if (taken) let_go(*pending);
  return taken;
}

void register_completions(py::module_& module) {
  py::class_<PendingCall>(module, "PendingCall", "A call under way.")
      .def("cancel", &PendingCall::cancel, "Takes the call back; False where it has begun.");
  module.def(
      "take_completed", &take_completed,
      "Waits for calls that have ended, as (future, results, exception); empty once closed.");
  module.def(
      "close_completions", [] { Completions::instance().close(); },
      "Lets take_completed() return for good.");
}

}  // namespace trtfast::bindings
