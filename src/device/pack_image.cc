#include "device/pack_image.h"

// unsigned long long dcp_pack_fatbin[]: bin2c's, of the fatbin
#include "pack_fatbin.inc"

namespace dcp {

const void* PackImage() { return dcp_pack_fatbin; }

}  // namespace dcp
