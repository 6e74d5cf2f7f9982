// What the probe finds: it counts what agrees and prints what does not.
#pragma once

#include <cxxabi.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <typeinfo>

namespace trtfast::tensorrt::probe {

struct Report {
  int rows = 0;       // slot and signature are equal, or absent as the table says
  int absent = 0;     // of these, the absent ones
  int unchecked = 0;  // rows whose header is not there
  int callbacks = 0;  // slots of the objects that TensorRT calls
  int values = 0;     // enumerators, fields, flags, compute capabilities
  int differences = 0;
  std::string may_throw;  // rows that the headers do not declare noexcept

  void difference(const std::string& what, const std::string& text) {
    ++differences;
    std::cout << "DIFFERENT " << what << ": " << text << '\n';
  }

  void equal(const std::string& what, const std::string& ours, const std::string& theirs,
             int& count) {
    if (ours == theirs) {
      ++count;
    } else {
      difference(what, "ours " + ours + ", theirs " + theirs);
    }
  }

  void equal(const std::string& what, long long ours, long long theirs, int& count) {
    equal(what, std::to_string(ours), std::to_string(theirs), count);
  }

  static void note(const std::string& text) { std::cout << "note: " << text << '\n'; }
};

/// The name of a type as C++ writes it.
template <class T>
std::string type_name() {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(typeid(T).name(), nullptr, nullptr, &status), std::free);
  return text != nullptr ? text.get() : typeid(T).name();
}

}  // namespace trtfast::tensorrt::probe
