// Calls that run in the background: what is under way, and what has come of it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "bindings/arrays.h"

namespace trtfast::bindings {

class Inbox;

/// A call under way. Its Python objects are let go with the GIL, as it is completed or cancelled.
struct Pending {
  Pending(std::shared_ptr<const std::vector<TensorSpec>> specs, Arguments given, py::object to)
      : outputs(std::move(specs)), arguments(std::move(given)), future(std::move(to)) {}

  std::shared_ptr<const std::vector<TensorSpec>> outputs;  // as their owner has them
  Arguments arguments;
  py::object future;
  Outcome outcome;
  std::mutex mutex;
  bool has_ended = false;
  std::shared_ptr<Inbox> told_to;  // none for the one of the whole process
};

/// Has Python complete the future of a call that has ended. Needs no GIL.
void complete(const std::shared_ptr<Pending>& pending, Outcome outcome);

void let_go(Pending& pending);

/// What a future holds to take its call back.
class PendingCall {
 public:
  /// @param take_back is called without the GIL.
  PendingCall(const std::shared_ptr<Pending>& pending, std::function<bool()> take_back)
      : pending_(pending), take_back_(std::move(take_back)) {}

  bool cancel();

  /// Lets another inbox be told of the call; none for the one of the whole process.
  /// @return false where the call has ended already.
  [[nodiscard]] bool tell(const std::shared_ptr<Inbox>& inbox) const;

 private:
  std::weak_ptr<Pending> pending_;
  std::function<bool()> take_back_;
};

/// Begins a call.
/// @param begin returns how the call is taken back.
template <class Begin>
[[nodiscard]] PendingCall begin_call(const std::shared_ptr<Pending>& pending, const Begin& begin) {
  std::function<bool()> take_back;
  try {
    take_back = begin();
  } catch (...) {
    let_go(*pending);
    throw;
  }
  return {pending, std::move(take_back)};
}

}  // namespace trtfast::bindings
