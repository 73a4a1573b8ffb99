#include "device/pack_image.h"

namespace dcp {

const void* PackImage() { return nullptr; }

}  // namespace dcp
