// Compares trtfast's ABI table and callbacks with the TensorRT headers that it is compiled against.
// check_headers.py generates names.inc, compiles this without access control, and runs it.
#include <NvInfer.h>
#if __has_include(<NvOnnxParser.h>)
#include <NvOnnxParser.h>
#define TRTFAST_HAS_PARSER true
#else
#define TRTFAST_HAS_PARSER false
#endif

#include <cstddef>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <unordered_map>
#include <utility>

#include "error.h"
#include "match.h"
#include "report.h"
#include "tensorrt/abi.h"
#include "tensorrt/callbacks.h"
#include "tensorrt/devices.h"
#include "tensorrt/log.h"
#include "vtable.h"

// From a final class nothing derives, so nothing could ask for its slots.
#define final
#include "tensorrt/callbacks.cpp"
#undef final

#include "names.inc"

namespace trtfast::tensorrt::probe {

// ---- the rows of the table ----------------------------------------------------------------------

template <class Pointer>
struct OurSignature;
template <class R, class... A>
struct OurSignature<R (*)(void*, A...) noexcept> {
  using type = R(A...);
  static constexpr std::size_t arguments = sizeof...(A);
};

template <class Class, class Method, class Member>
void compare_present_row(Report& report, const std::string& what, int slot) {
  using Ours = OurSignature<typename Method::Pointer>;
  constexpr auto member = Member::template of<Class, Ours::arguments>();
  if constexpr (std::is_null_pointer_v<decltype(member)>) {
    report.difference(what, "theirs has not exactly one overload of " +
                                std::to_string(Ours::arguments) + " arguments");
  } else {
    compare_method<typename Ours::type>(report, what, slot, member, report.rows);
    // The call is the same, but ours takes the method's word that nothing comes out of it.
    if (!Signature<std::remove_cv_t<decltype(member)>>::nothrow) report.may_throw += " " + what;
  }
}

template <class Class, class Method, class Member>
void compare_row(Report& report, const Abi& abi, const std::string& cls, const std::string& name) {
  const std::string what = cls + "::" + name;
  const int slot = abi.slots_[static_cast<std::size_t>(Method::row)];
  const bool in_parser = cls.starts_with("IParser");
  if (in_parser && !TRTFAST_HAS_PARSER) {
    ++report.unchecked;
    return;
  }
  if constexpr (Complete<Class>) {
    if (name == "destroy") {  // the table's word for the deleting destructor
      if constexpr (std::has_virtual_destructor_v<Class>) {
        report.equal(what, "slot " + std::to_string(slot),
                     "slot " + std::to_string(deleting_destructor_slot<Class>()), report.rows);
      } else {
        report.difference(what, "theirs has no virtual destructor");
      }
      return;
    }
    if constexpr (Member::template in<Class>) {
      if (slot >= 0) {
        compare_present_row<Class, Method, Member>(report, what, slot);
      } else {
        report.difference(what, "ours has no slot, theirs has the method");
      }
      return;
    }
  }
  if (slot >= 0) {
    report.difference(what, "ours slot " + std::to_string(slot) + ", theirs lacks the " +
                                (Complete<Class> ? "method" : "class"));
    return;
  }
  ++report.rows;
  ++report.absent;
}

#define TRTFAST_METHOD(cls, name, ...) \
  namespace row::cls {                 \
  struct name##_ {                     \
    TRTFAST_MEMBER(name)               \
  };                                   \
  }
#include "tensorrt/abi/methods.def"
#undef TRTFAST_METHOD

void compare_rows(Report& report, const Abi& abi) {
#define TRTFAST_METHOD(cls, name, ...) \
  compare_row<theirs::cls, method::cls::name, row::cls::name##_>(report, abi, #cls, #name);
#include "tensorrt/abi/methods.def"
#undef TRTFAST_METHOD
}

// ---- the public classes: the object behind them, and their end ----------------------------------

template <class Implementation, class Public>
void compare_public_class(Report& report, const std::string& cls) {
  if constexpr (!Complete<Implementation>) {
    return;  // its rows tell
  } else if constexpr (!Complete<Public>) {
    report.difference(cls, "theirs lacks the class");
  } else {
    constexpr auto pointer = [] {
      if constexpr (requires { &Public::mImpl; }) {
        return &Public::mImpl;
      } else if constexpr (requires { &Public::mLayer; }) {
        return &Public::mLayer;
      }
    };
    using Pointer = decltype(pointer());
    if constexpr (std::is_same_v<Pointer, Implementation * Public::*>) {
      Recorder object;
      for (auto& word : object.words) word = &word;
      const auto* ours = static_cast<std::byte*>(implementation_of(&object));
      const auto offset = ours - reinterpret_cast<std::byte*>(&object);
      std::ptrdiff_t theirs = 0;
      const auto member = pointer();
      std::memcpy(&theirs, &member, sizeof theirs);
      report.equal(cls + ", offset of its implementation", offset, theirs, report.values);
    } else {
      report.difference(cls, "theirs has no pointer to " + type_name<Implementation>());
    }
    if constexpr (!std::has_virtual_destructor_v<Public>) {
      report.difference(cls, "theirs has no virtual destructor");
    } else {
      report.equal(cls + ", deleting destructor", recorded([](void* it) { delete_object(it); }),
                   deleting_destructor_slot<Public>(), report.values);
    }
  }
}

void compare_public_classes(Report& report) {
#define TRTFAST_PUBLIC_CLASS(implementation, cls) \
  compare_public_class<theirs::implementation, theirs::cls>(report, #cls);
  TRTFAST_PUBLIC_CLASSES(TRTFAST_PUBLIC_CLASS)
#undef TRTFAST_PUBLIC_CLASS
}

// ---- the objects that TensorRT calls ------------------------------------------------------------

template <class Interface, class Ours>
void compare_interface_info(Report& report, const std::string& name, Ours& ours) {
  if constexpr (requires {
                  &Interface::getInterfaceInfo;
                  &Ours::getInterfaceInfo;
                }) {
    using Declaring = typename Signature<decltype(&Interface::getInterfaceInfo)>::Class;
    if constexpr (std::is_same_v<Declaring, Interface>) {
      recorded([&](void* object) {
        auto* theirs = static_cast<Interface*>(object);
        const auto info = theirs->Interface::getInterfaceInfo();  // theirs, whatever the object
        const auto [kind, major, minor] = ours.getInterfaceInfo();
        report.equal(name + ", kind", std::string(kind), std::string(info.kind), report.values);
        report.equal(name + ", major version", major, info.major, report.values);
        report.equal(name + ", minor version", minor, info.minor, report.values);
        report.equal(name + ", language", ours.getAPILanguage(),
                     static_cast<int>(theirs->Interface::getAPILanguage()), report.values);
      });
    }
  }
}

template <class Members, class Interface, class Ours>
bool compare_shape(Report& report, const std::string& name, void* object) {
  const auto& type = *(*static_cast<const std::type_info* const* const*>(object))[-1];
  if (type != typeid(Ours)) return false;

  int matched = 0;
  const int before = report.differences;
  Members::each([&]<class Member>(const char* method, Member) {
    if constexpr (Member::template in<Interface>) {
      const std::string what = name + "::" + method;
      if constexpr (!Member::template in<Ours>) {
        report.difference(what, "ours lacks it, theirs has it");
      } else {
        constexpr auto ours = Member::template sole<Ours>();
        using Our = Signature<std::remove_cv_t<decltype(ours)>>;
        constexpr auto theirs = Member::template of<Interface, Our::arguments>();
        if constexpr (std::is_null_pointer_v<std::remove_cv_t<decltype(theirs)>>) {
          report.difference(what, "theirs takes another number of arguments");
        } else {
          compare_method<typename Our::type>(report, what, slot_of(ours), theirs, matched);
        }
      }
    }
  });
  if constexpr (std::has_virtual_destructor_v<Interface>) {
    report.equal(name + ", destructor", complete_destructor_slot<Ours>(),
                 complete_destructor_slot<Interface>(), matched);
    report.equal(name + ", deleting destructor", deleting_destructor_slot<Ours>(),
                 deleting_destructor_slot<Interface>(), matched);
  } else {
    report.difference(name, "theirs has no virtual destructor");
  }
  if (report.differences == before) {
    report.equal(name + ", entries", matched, slot_count<Interface>(), report.values);
    compare_interface_info<Interface>(report, name, *static_cast<Ours*>(object));
  }
  report.callbacks += matched;
  return true;
}

/// @tparam Shapes the classes that may be behind the object; which, the generation has decided.
template <class Members, class Interface, class... Shapes>
void compare_callback(Report& report, const std::string& name, void* object) {
  if constexpr (!Complete<Interface>) {
    report.difference(name, "theirs lacks the class");
  } else if (!(compare_shape<Members, Interface, Shapes>(report, name, object) || ...)) {
    report.difference(name, "the probe does not know the class of our object");
  }
}

#define TRTFAST_CALLBACK(cls, owner, ...)                                           \
  compare_callback<interface::cls::Members, theirs::cls, __VA_ARGS__>(report, #cls, \
                                                                      (owner).object())

void compare_callbacks(Report& report, const Abi& abi) {
  const Generation generation = abi.generation();
  struct Sink : OutputSink {
    void* provide(std::size_t) noexcept override { return nullptr; }
    void set_shape(const Dims&) noexcept override {}
  } sink;
  TRTFAST_CALLBACK(ILogger, Logger(generation), PlainLogger, VersionedLogger);
  TRTFAST_CALLBACK(IProgressMonitor, ProgressMonitor([](const auto&) { return true; }),
                   ProgressMonitor::Shape);
  TRTFAST_CALLBACK(IOutputAllocator, OutputAllocator(generation, sink),
                   OutputAllocator::Shapes::Rtx, OutputAllocator::Shapes::Trt);
  TRTFAST_CALLBACK(IProfiler, Profiler(generation, [](const char*, float) {}),
                   Profiler::Shapes::Plain, Profiler::Shapes::Modern);
  if (abi.has(Capability::kStreamedPlan)) {
    TRTFAST_CALLBACK(IStreamWriter, StreamWriter([](const auto&) { return true; }),
                     StreamWriter::Shape);
  }
}

// ---- values that no signature leads to ----------------------------------------------------------

template <class Flag>
void compare_flags(Report& report, const Abi& abi) {
  if constexpr (requires { Flag::kSTRONGLY_TYPED; }) {
    report.equal("strongly typed flags", abi.strongly_typed_flags(),
                 1U << static_cast<unsigned>(Flag::kSTRONGLY_TYPED), report.values);
  } else {
    report.difference("strongly typed flags", "theirs has no kSTRONGLY_TYPED");
  }
}

template <class Capability>
void compare_capabilities(Report& report, Version version) {
  if (!is_rtx(generation_of(version))) return;  // TensorRT has no list in its headers
#define TRTFAST_CAPABILITY(value)                                                                \
  {                                                                                              \
    constexpr bool listed = requires { Capability::kSM##value; };                                \
    report.equal("compute capability " #value, supports(version, value), listed, report.values); \
    if constexpr (requires { Capability::kSM##value; }) {                                        \
      report.equal("ComputeCapability::kSM" #value, value,                                       \
                   static_cast<int>(Capability::kSM##value), report.values);                     \
    }                                                                                            \
  }
  TRTFAST_CAPABILITIES(TRTFAST_CAPABILITY)
#undef TRTFAST_CAPABILITY
}

int run() {
#ifdef TRT_MAJOR_RTX
  constexpr bool rtx = true;
#else
  constexpr bool rtx = false;
#endif
  const Version version{NV_TENSORRT_MAJOR * 10000 + NV_TENSORRT_MINOR * 100 + NV_TENSORRT_PATCH};
  const Abi abi(version);
  Report report;
  report.equal("TensorRT-RTX", is_rtx(abi.generation()), rtx, report.values);
  compare_rows(report, abi);
  compare_public_classes(report);
  compare_callbacks(report, abi);
  compare_flags<theirs::NetworkDefinitionCreationFlag>(report, abi);
  compare_capabilities<theirs::ComputeCapability>(report, version);

  if (!report.may_throw.empty()) Report::note("not noexcept in these headers:" + report.may_throw);
  std::cout << (rtx ? "TensorRT-RTX " : "TensorRT ") << version.str() << " ("
            << name(abi.generation()) << "): " << report.rows << " rows right (" << report.absent
            << " absent from both), " << report.unchecked << " rows unchecked for want of "
            << "NvOnnxParser.h, " << report.callbacks << " callback slots right, " << report.values
            << " values right, " << report.differences << " differences\n";
  return report.differences == 0 ? 0 : 1;
}

}  // namespace trtfast::tensorrt::probe

int main() {
  try {
    return trtfast::tensorrt::probe::run();
  } catch (const trtfast::Error& error) {
    std::cout << error.what() << '\n';
    return 2;
  }
}
