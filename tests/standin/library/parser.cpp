// The ONNX parser's library. Its objects are abstract classes: {vptr} with their own tables.
#include <string_view>

#include "call.h"
#include "model.h"
#include "objects.h"
#include "release.h"

namespace standin {
namespace {

struct ParserError : Object {
  static constexpr Kind kKind = Kind::kParserError;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
  std::string text;
  std::string node_name;
  std::string node_operator;
  int node = -1;  // where the model itself is at fault
};

struct Parser : Object {
  static constexpr Kind kKind = Kind::kParser;
  static constexpr bool kOneThread = true;
  static VTable make_table();
  void dispose() noexcept {}
  [[nodiscard]] Network& network() const noexcept { return parent_of<Network>(*this); }
  bool fail(const std::string& text, const Op* op);
  std::vector<std::shared_ptr<ParserError>> errors;
};

VTable ParserError::make_table() {
  using namespace method::IParserError;  // NOLINT(google-build-using-namespace): a table of names
  VTable table;
  table.set<desc>([](void* self) noexcept -> const char* {
    const Call<ParserError> call(self, "IParserError::desc");
    return call ? call->text.c_str() : nullptr;
  });
  table.set<method::IParserError::node>([](void* self) noexcept {
    const Call<ParserError> call(self, "IParserError::node");
    return call ? call->node : -1;
  });
  table.set<nodeName>([](void* self) noexcept -> const char* {
    const Call<ParserError> call(self, "IParserError::nodeName");
    return call ? call->node_name.c_str() : nullptr;
  });
  // TensorRT gives null where it knows no operator.
  table.set<nodeOperator>([](void* self) noexcept -> const char* {
    const Call<ParserError> call(self, "IParserError::nodeOperator");
    return call && !call->node_operator.empty() ? call->node_operator.c_str() : nullptr;
  });
  return table;
}

bool Parser::fail(const std::string& text, const Op* op) {
  auto error = make_object<ParserError>(this, logger);
  error->text = text;
  if (op != nullptr) {
    error->node = static_cast<int>(op - network().model.ops.data());
    error->node_name = op->node;
    error->node_operator = op->kind;
  }
  errors.push_back(std::move(error));
  log(logger, trtfast::tensorrt::Severity::kError, "In node: " + text);
  return false;
}

bool parse(Parser& parser, std::string_view text) {
  Model model;
  if (const auto error = read(std::string(text), model)) return parser.fail(*error, nullptr);
  Network& network = parser.network();
  network.parser = &parser;
  const auto failure = model.failures.find("parse");
  if (failure == model.failures.end()) {
    network.fill(model);
    return true;
  }
  network.model = model;
  const Op* culprit = nullptr;
  for (const auto& op : network.model.ops) {
    if (op.node == failure->second.subject) culprit = &op;
  }
  return parser.fail(failure->second.text, culprit);
}

VTable Parser::make_table() {
  namespace names = method::IParser;
  VTable table;
  table.set<names::parse>(
      [](void* self, const void* model, std::size_t size, const char* path) noexcept {
        Call<Parser> call(self, "IParser::parse", std::to_string(size) + " bytes, " + quoted(path));
        if (!call) return false;
        if (model == nullptr) return call.violate("the model is null");
        if (!Recorder::instance().alive(call->parent)) {
          return call.violate("the network was deleted");
        }
        return parse(*call, {static_cast<const char*>(model), size});
      });
  table.set<names::getNbErrors>([](void* self) noexcept {
    const Call<Parser> call(self, "IParser::getNbErrors");
    return call ? static_cast<int>(call->errors.size()) : 0;
  });
  table.set<names::getError>([](void* self, int index) noexcept -> const void* {
    Call<Parser> call(self, "IParser::getError", std::to_string(index));
    if (!call) return nullptr;
    if (index >= 0 && static_cast<std::size_t>(index) < call->errors.size()) {
      return call->errors[static_cast<std::size_t>(index)].get();
    }
    call.violate("there is no such error");
    return nullptr;
  });
  table.set<names::destroy>(&delete_object<Parser>);
  return table;
}

}  // namespace
}  // namespace standin

#define STANDIN_EXPORT extern "C" __attribute__((visibility("default")))

STANDIN_EXPORT std::int32_t getNvOnnxParserVersion() noexcept {
  return 100;  // 0.1.0
}

STANDIN_EXPORT void* createNvOnnxParser_INTERNAL(void* network, void* logger,
                                                 int version) noexcept {
  using namespace standin;  // NOLINT(google-build-using-namespace): an entry point of theirs
  if (network == nullptr || logger == nullptr) return nullptr;
  auto* object = static_cast<Object*>(static_cast<Face*>(network)->implementation);
  if (object == nullptr || object->magic != Object::kAlive) return nullptr;
  Recorder::use(*object->recorder);
  const std::string arguments = std::to_string(version);
  Call<Network> call(object, "createNvOnnxParser", arguments);
  if (!call) return nullptr;
  if (version != getNvOnnxParserVersion()) call.violate("this is not the parser's version");
  if (logger != call->logger) call.violate("the parser gets another logger than the builder");
  if (!call) return nullptr;
  return make_object<Parser>(object, logger).get();
}
