#include "tensorrt/api.h"

#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "cuda/device.h"
#include "error.h"

namespace trtfast::tensorrt {

std::string failure(const char* api, const ErrorScope& scope, const std::source_location& where) {
  return std::string(api) + " failed (" + std::filesystem::path(where.file_name()).filename().string() +
         ":" + std::to_string(where.line()) + "): " + scope.errors();
}

void throw_if_out_of_memory(const ErrorScope& scope) {
  // As in "Error Code 2: OutOfMemory (Requested size was 173383040 bytes.)".
  const std::string errors = scope.errors();
  if (errors.find("OutOfMemory") == std::string::npos) return;
  std::size_t requested = 0;
  constexpr std::string_view kSize = "Requested size was ";
  if (const auto at = errors.find(kSize); at != std::string::npos) {
    requested = std::strtoull(errors.c_str() + at + kSize.size(), nullptr, 10);
  }
  const std::size_t free = cuda::free_memory();
  throw OutOfMemoryError("TensorRT finds no device memory for " + std::to_string(requested) +
                             " bytes, with " + std::to_string(free) +
                             " bytes free: use smaller profiles or fewer lanes, or free memory",
                         requested, free);
}

Parser::Parser(const Object& network) : library_(network.library()) {
  const ErrorScope scope;
  object_ = require<BuildError>(library_->create_parser(network.get()), "createNvOnnxParser", scope);
}

Parser::~Parser() { library_->abi().call<method::IParser::destroy>(object_); }

void Parser::parse(std::span<const std::byte> model, const std::string& path) const {
  const ErrorScope scope;
  const Abi& abi = library_->abi();
  const void* data = model.data();
  if (abi.call<method::IParser::parse>(object_, data, model.size(), path.c_str())) return;

  const int count = abi.call<method::IParser::getNbErrors>(object_);
  if (count == 0) throw BuildError("TensorRT cannot read the ONNX model: " + scope.errors());

  std::string message = "TensorRT cannot build this ONNX model";
  std::string culprit;
  for (int index = 0; index < count; ++index) {
    const void* error = abi.call<method::IParser::getError>(object_, index);
    const auto text = [](const char* value) { return std::string(value != nullptr ? value : ""); };
    const std::string node = text(abi.call<method::IParserError::nodeName>(error));
    const std::string op = text(abi.call<method::IParserError::nodeOperator>(error));
    const int position = abi.call<method::IParserError::node>(error);
    message += "\n  ";
    if (position >= 0) {
      message += "node " + std::to_string(position) + " '" + node + "' (" + op + "): ";
    }
    message += text(abi.call<method::IParserError::desc>(error));
    if (culprit.empty()) culprit = node;
  }
  throw BuildError(message, culprit);
}

}  // namespace trtfast::tensorrt
