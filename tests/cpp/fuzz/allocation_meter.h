// How much memory a piece of code asks for with operator new.

#ifndef DCP_TESTS_FUZZ_ALLOCATION_METER_H_
#define DCP_TESTS_FUZZ_ALLOCATION_METER_H_

#include <cstddef>

namespace dcp {

/// Starts anew: PeakNbytes() counts from what is allocated now.
void ResetAllocationPeak();
/// The most bytes that were allocated at a time since then, by all threads.
size_t AllocationPeakNbytes();

}  // namespace dcp

#endif  // DCP_TESTS_FUZZ_ALLOCATION_METER_H_
