// In the place of the fake, for the tests that also run on a GPU: nothing is set, nothing is
// noticed.
#include "fake_cuda.h"

namespace fake_cuda {

bool is_fake() { return false; }
void reset() {}
void set_devices(int, int) {}
void set_late(bool) {}
void fail(const std::string&, int) {}
int count(const std::string&) { return 0; }
// NOLINTBEGIN(modernize-use-string-view): as the fake declares them
std::string leaks() { return {}; }
std::string faults() { return {}; }
// NOLINTEND(modernize-use-string-view)

}  // namespace fake_cuda
