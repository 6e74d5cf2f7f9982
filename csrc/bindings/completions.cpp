#include "bindings/completions.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "error.h"

namespace trtfast::bindings {

/// The calls that have ended and whose futures do not know yet. Python empties it, so that no lane
/// ever waits for the GIL.
class Inbox {
 public:
  Inbox() = default;
  virtual ~Inbox() = default;
  Inbox(const Inbox&) = delete;  // calls point to it
  Inbox& operator=(const Inbox&) = delete;

  void add(std::shared_ptr<Pending> pending) {
    const std::scoped_lock lock(mutex_);
    ended_.push_back(std::move(pending));
    if (ended_.size() == 1) ring();
  }

 protected:
  using Ended = std::deque<std::shared_ptr<Pending>>;

  std::mutex mutex_;  // NOLINT(*-non-private-member-variables-in-classes)
  Ended ended_;       // NOLINT(*-non-private-member-variables-in-classes): of two kinds of bells

 private:
  /// Under the lock, as the first call comes in.
  virtual void ring() = 0;
};

namespace {

/// Of all calls that nobody else has told: a thread of Python's waits for them.
class SharedInbox final : public Inbox {
 public:
  static SharedInbox& instance() {
    static auto* inbox = new SharedInbox;  // leaked: a call may end while the process does
    return *inbox;
  }

  /// Waits; returns nothing once it is closed.
  Ended take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !ended_.empty(); });
    return std::exchange(ended_, {});
  }

  void close() {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  void ring() override { changed_.notify_one(); }

  std::condition_variable changed_;
  bool closed_ = false;
};

/// Of the calls that coroutines wait for: their event loop watches a file, which can be read while
/// there are some.
class LoopInbox final : public Inbox {
 public:
  LoopInbox() : file_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (file_ < 0) throw Error("the system gives no file for an event loop to watch (eventfd)");
  }
  // What a loop that is gone has not taken is told to the thread.
  ~LoopInbox() override {
    for (auto& pending : ended_) SharedInbox::instance().add(std::move(pending));
    ::close(file_);
  }
  LoopInbox(const LoopInbox&) = delete;  // owns the file
  LoopInbox& operator=(const LoopInbox&) = delete;

  [[nodiscard]] int file() const noexcept { return file_; }

  Ended take() {
    const std::scoped_lock lock(mutex_);
    eventfd_t rung = 0;
    static_cast<void>(eventfd_read(file_, &rung));
    return std::exchange(ended_, {});
  }

 private:
  void ring() override { static_cast<void>(eventfd_write(file_, 1)); }

  int file_;
};

/// (future, results or None, exception or None) of each call.
std::vector<py::tuple> told(const std::deque<std::shared_ptr<Pending>>& ended) {
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

std::vector<py::tuple> take_completed() {
  std::deque<std::shared_ptr<Pending>> ended;
  {
    const ReleasedGil released;
    ended = SharedInbox::instance().take();
  }
  return told(ended);
}

}  // namespace

void complete(const std::shared_ptr<Pending>& pending, Outcome outcome) {
  const std::scoped_lock lock(pending->mutex);
  pending->outcome = std::move(outcome);
  pending->has_ended = true;
  // Still under the lock: who is told that the call has ended finds it in the inbox.
  const auto inbox = std::move(pending->told_to);
  (inbox != nullptr ? *inbox : SharedInbox::instance()).add(pending);
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

bool PendingCall::tell(const std::shared_ptr<Inbox>& inbox) const {
  const auto pending = pending_.lock();
  if (pending == nullptr) return false;
  const std::scoped_lock lock(pending->mutex);
  if (!pending->has_ended) pending->told_to = inbox;
  return !pending->has_ended;
}

void register_completions(py::module_& module) {
  const py::class_<Inbox, std::shared_ptr<Inbox>> base(module, "Inbox", "Calls that have ended.");
  py::class_<PendingCall>(module, "PendingCall", "A call under way.")
      .def("cancel", &PendingCall::cancel, "Takes the call back; False where it has begun.")
      .def(
          "tell",
          [](const PendingCall& call, const std::optional<std::shared_ptr<Inbox>>& inbox) {
            return call.tell(inbox.value_or(nullptr));
          },
          py::arg("inbox"),
          "Has an inbox told, or None for the one of all; False where the call has ended.");
  py::class_<LoopInbox, Inbox, std::shared_ptr<LoopInbox>>(
      module, "LoopInbox", "Calls that have ended, for an event loop that watches a file.")
      .def(py::init<>())
      .def("fileno", &LoopInbox::file, "Can be read while there are calls to take.")
      .def(
          "take", [](LoopInbox& inbox) { return told(inbox.take()); },
          "Takes the calls that have ended, as (future, results, exception).");
  module.def(
      "take_completed", &take_completed,
      "Waits for calls that have ended, as (future, results, exception); empty once closed.");
  module.def(
      "close_completions", [] { SharedInbox::instance().close(); },
      "Lets take_completed() return for good.");
}

}  // namespace trtfast::bindings
