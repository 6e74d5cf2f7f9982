#include "tensorrt/api.h"

#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "cuda/device.h"
#include "error.h"

namespace trtfast::tensorrt {

std::string failure(const char* api, const ErrorScope& scope, const std::source_location& where) {
  return std::string(api) + " failed (" +
         std::filesystem::path(where.file_name()).filename().string() + ":" +
         std::to_string(where.line()) + "): " + scope.errors();
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
  const auto free = cuda::free_memory();
  throw OutOfMemoryError("TensorRT finds no device memory for " + std::to_string(requested) +
                             " bytes" +
                             (free ? ", with " + std::to_string(*free) + " bytes free" : "") +
                             ": use smaller profiles or fewer lanes, or free memory",
                         requested, free);
}

View::View(const Abi& abi, void* object) : abi_(&abi), object_(object) {
  if (object == nullptr) throw Error("TensorRT returned no object where there must be one");
}

Parser::Parser(const Object& network) : library_(network.library()) {
  const ErrorScope scope;
  object_ =
      require<BuildError>(library_->create_parser(network.get()), "createNvOnnxParser", scope);
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
    if (error == nullptr) continue;
    const std::string node = text(abi.call<method::IParserError::nodeName>(error));
    const std::string op = text(abi.call<method::IParserError::nodeOperator>(error));
    const int position = abi.call<method::IParserError::node>(error);
    message += "\n  ";
    if (position >= 0) {
      message.append("node ").append(std::to_string(position));
      message.append(" '").append(node).append("' (").append(op).append("): ");
    }
    message += text(abi.call<method::IParserError::desc>(error));
    if (culprit.empty()) culprit = node;
  }
  throw BuildError(message, culprit);
}

}  // namespace trtfast::tensorrt
