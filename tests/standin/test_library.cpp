// Opening libraries: the version is read first, the table chosen, and a wrong one found out.
#include "fixture.h"
#include "tensorrt/api.h"

namespace standin_test {
namespace {

using testing::HasSubstr;
using trtfast::TensorRTNotFoundError;
using trtfast::UnsupportedVersionError;
using trtfast::tensorrt::Library;
using trtfast::tensorrt::Object;
namespace method = trtfast::tensorrt::method;

class LibraryOnStandin : public StandinTest {};
INSTANTIATE_FOR_RELEASES(LibraryOnStandin);

TEST_P(LibraryOnStandin, KnowsItsVersionAndGeneration) {
  EXPECT_EQ(library_->full_version(), GetParam().version);
  EXPECT_STREQ(trtfast::tensorrt::name(library_->abi().generation()), GetParam().generation);
  EXPECT_STREQ(library_->product(), is_rtx() ? "TensorRT-RTX" : "TensorRT");
}

TEST_P(LibraryOnStandin, IsOpenedOnce) {
  const auto again = Library::open(path_of(GetParam().folder, GetParam().core));
  EXPECT_EQ(again, library_);
  EXPECT_EQ(recording_->count("createInferRuntime"), 0U) << "the self-test ran twice";
}

TEST_P(LibraryOnStandin, UsesTheLoggerThatItIsGiven) {
  const Object runtime(library_, library_->create_runtime());
  EXPECT_NE(runtime.call<method::VRuntime::getLogger>(), nullptr);
  EXPECT_EQ(runtime.call<method::VRuntime::getPImpl>(), runtime.get());
}

using LibraryOnStandinDeathTest = LibraryOnStandin;
INSTANTIATE_FOR_RELEASES(LibraryOnStandinDeathTest);

TEST_P(LibraryOnStandinDeathTest, AWrongSlotIsReported) {
  constexpr std::size_t kUnusedSlot = 90;
  void* runtime = library_->create_runtime();
  void* implementation = trtfast::tensorrt::implementation_of(runtime);
  auto* const* table = *static_cast<void* const* const*>(implementation);
  const auto wrong = reinterpret_cast<void (*)(void*)>(table[kUnusedSlot]);
  EXPECT_DEATH(wrong(implementation), "unexpected call of slot 90");
  trtfast::tensorrt::delete_object(runtime);
}

TEST(RefusedLibraries, AreNotCalled) {
  for (const auto& [folder, core] :
       {std::pair{"10.8", "libnvinfer.so.10"}, std::pair{"12.0", "libnvinfer.so.12"}}) {
    const std::string path = path_of(folder, core);
    const auto error = thrown_by<UnsupportedVersionError>([&] { Library::open(path); });
    EXPECT_THAT(error.what(), HasSubstr(std::string("TensorRT ") + folder + ".0"));
    EXPECT_THAT(error.what(), HasSubstr("11.x")) << "the message names what is supported";
    EXPECT_EQ(Recording(path).calls(), "");
  }
}

TEST(RefusedLibraries, MislabelledOnesFailTheSelfTest) {
  for (const auto& [folder, core] : {std::pair{"ten_as_eleven", "libnvinfer.so.11"},
                                     std::pair{"eleven_as_ten", "libnvinfer.so.10"}}) {
    const std::string path = path_of(folder, core);
    const auto error = thrown_by<UnsupportedVersionError>([&] { Library::open(path); });
    EXPECT_THAT(error.what(), HasSubstr("does not answer as version")) << folder;
    EXPECT_EQ(Recording(path).live_objects(), "") << folder;
  }
}

TEST(RefusedLibraries, OtherFilesAreNoTensorRT) {
  const std::string parser = path_of("10.16", "libnvonnxparser.so.10");
  EXPECT_THAT(thrown_by<TensorRTNotFoundError>([&] { Library::open(parser); }).what(),
              HasSubstr("is not TensorRT"));
  EXPECT_THROW(Library::open("/nowhere/libnvinfer.so.10"), TensorRTNotFoundError);
}

}  // namespace
}  // namespace standin_test
