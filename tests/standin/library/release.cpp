#include "release.h"

#ifndef STANDIN_LAYOUT
#define STANDIN_LAYOUT STANDIN_VERSION
#endif

namespace standin {

const Release kRelease = {{STANDIN_VERSION}, {STANDIN_LAYOUT}, 77};

}  // namespace standin
