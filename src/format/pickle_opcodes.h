// Pickle opcodes, by their names in CPython's Lib/pickle.py.

#ifndef DCP_FORMAT_PICKLE_OPCODES_H_
#define DCP_FORMAT_PICKLE_OPCODES_H_

#include <cstdint>
#include <string>

namespace dcp {

/// The opcodes that dcp reads or writes. All others are refused.
enum class PickleOp : uint8_t {
  kMark = '(',
  kStop = '.',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinFloat = 'G',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kEmptyTuple = ')',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyList = ']',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

/// CPython's name of the opcode `code` ("SHORT_BINUNICODE"), also of those
/// that are refused; "opcode 0x.." if Python has none.
std::string PickleOpName(uint8_t code);

}  // namespace dcp

#endif  // DCP_FORMAT_PICKLE_OPCODES_H_
