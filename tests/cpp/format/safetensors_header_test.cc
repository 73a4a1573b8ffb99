#include "format/safetensors_header.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "format/safetensors_testing.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using enum SafetensorsDType;

/// The message for a header that must be refused as damaged.
std::string Refusal(std::string_view text, int64_t data_nbytes) {
  const Status status = ParseText(text, data_nbytes).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  return std::string(Message(status));
}

TEST_CASE("a header says which tensor lies where", "[safetensors]") {
  const auto header =
      ParseText(R"({"__metadata__":{"format":"pt","k":""},)"
                R"("b":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},)"
                R"("a":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}   )",
                32);
  REQUIRE(header.ok());
  CHECK(header->metadata ==
        std::map<std::string, std::string>{{"format", "pt"}, {"k", ""}});
  CHECK(header->tensors ==
        std::vector<SafetensorsTensor>{
            {.name = "a", .dtype = kI64, .shape = {}, .begin = 0, .end = 8},
            {.name = "b",
             .dtype = kF32,
             .shape = {2, 3},
             .begin = 8,
             .end = 32}});
  CHECK(SafetensorsFileNbytes(*header) == header->data_offset + 32);
}

TEST_CASE("the first bytes say how long the header is", "[safetensors]") {
  const std::string two = LengthBytes(2) + "{}";
  CHECK(*SafetensorsHeadNbytes(AsBytes(two), 10) == 10);
  CHECK(*SafetensorsHeadNbytes(AsBytes(two).first(8), 11) == 10);
  const std::string most = LengthBytes(100'000'000);
  CHECK(*SafetensorsHeadNbytes(AsBytes(most), 100'000'008) == 100'000'008);

  const auto refusal = [](const std::string& head, int64_t file_nbytes) {
    const Status status =
        SafetensorsHeadNbytes(AsBytes(head), file_nbytes).status();
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    return std::string(Message(status));
  };
  CHECK_THAT(refusal("", 0), Contains("too few for a header"));
  CHECK_THAT(refusal("1234567", 7), Contains("too few for a header"));
  CHECK_THAT(refusal(LengthBytes(100'000'001), 1 << 30), Contains("limit"));
  CHECK_THAT(refusal(LengthBytes(~uint64_t{0}), 1 << 30), Contains("limit"));
  CHECK_THAT(refusal(LengthBytes(uint64_t{1} << 63), 100), Contains("limit"));
  CHECK_THAT(refusal(most, 100'000'007), Contains("end at byte 100000008"));
  CHECK_THAT(refusal(LengthBytes(3), 10), Contains("end at byte 11"));
}

TEST_CASE("a caller that gives too little of the file is told",
          "[safetensors]") {
  const std::string head = HeadOf("{}");
  CHECK(ParseSafetensorsHeader(AsBytes(head), 10).ok());
  for (const size_t nbytes : {0UL, 7UL, 8UL, 9UL}) {
    CHECK(ParseSafetensorsHeader(AsBytes(head).first(nbytes), 10)
              .status()
              .code() == absl::StatusCode::kInvalidArgument);
  }
  // More than the header is what a first read gives.
  CHECK(ParseSafetensorsHeader(AsBytes(head + "data"), 10).status().code() ==
        absl::StatusCode::kOk);
}

struct Accepted {
  const char* text;
  int64_t data_nbytes;
};

TEST_CASE("what writers do, and the reference reads, is accepted",
          "[safetensors]") {
  const auto good = GENERATE(
      Accepted{"{}", 0}, Accepted{" \t\r\n{}", 0}, Accepted{"{} \t\r\n", 0},
      Accepted{R"({"__metadata__":null})", 0},
      Accepted{R"({"__metadata__":{}})", 0},
      Accepted{R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})",
               1},
      Accepted{R"({"a":{"x":{"dtype":1,"shape":[{}]},"dtype":"U8","shape":[1],)"
               R"("data_offsets":[0,1]}})",
               1},
      Accepted{R"({"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1},
      Accepted{R"({"\u0000\u00e9":{"dtype":"U8","shape":[1],)"
               R"("data_offsets":[0,1]}})",
               1},
      // Data that is not aligned.
      Accepted{R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
               R"("b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
               5},
      // Two without data at one place, and one with data there.
      Accepted{R"({"c":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
               R"("b":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
               R"("a":{"dtype":"F32","shape":[2,0],"data_offsets":[0,0]}})",
               1},
      Accepted{R"({"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})", 2},
      Accepted{R"({"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}})",
               3});
  CAPTURE(good.text);
  CHECK(ParseText(good.text, good.data_nbytes).status() == absl::OkStatus());
}

TEST_CASE("what is no object of objects is refused", "[safetensors]") {
  CHECK_THAT(Refusal("", 0), Contains("not JSON"));
  CHECK_THAT(Refusal("{", 0), Contains("not JSON"));
  CHECK_THAT(Refusal("\xff", 0), Contains("not UTF-8"));
  CHECK_THAT(Refusal(Bytes("{}\0\0"), 0), Contains("not JSON"));
  CHECK_THAT(Refusal("{}x", 0), Contains("not JSON"));
  for (const char* text : {"[]", "1", "null", "\"a\""}) {
    CHECK_THAT(Refusal(text, 0), Contains("not a JSON object"));
  }
  for (const char* text : {R"({"a":null})", R"({"a":1})", R"({"a":"x"})",
                           R"({"a":["U8",[1],[0,1]]})"}) {
    CHECK_THAT(Refusal(text, 1), Contains("tensor \"a\" is not described"));
  }
}

TEST_CASE("metadata that is not of strings is refused", "[safetensors]") {
  for (const char* value : {R"({"a":1})", R"({"a":{"b":"c"}})", R"({"a":[]})",
                            R"({"a":null})", R"({"dtype":"U8","shape":[]})"}) {
    CHECK_THAT(Refusal("{\"__metadata__\":" + std::string(value) + "}", 0),
               Contains("in __metadata__ is not a string"));
  }
  for (const char* value : {R"(["a"])", R"("a")", "1", "true"}) {
    CHECK_THAT(Refusal("{\"__metadata__\":" + std::string(value) + "}", 0),
               Contains("__metadata__ is not an object"));
  }
}

TEST_CASE("a name that is there twice is refused wherever it is",
          "[safetensors]") {
  const std::string u8 = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  for (const std::string& text :
       {R"({"a":)" + u8 + R"(,"a":)" + u8 + "}",
        R"({"a":)" + u8 + R"(,"b":)" + u8 + R"(,"\u0061":)" + u8 + "}",
        std::string(R"({"__metadata__":{"a":"1"},"__metadata__":{"a":"2"}})"),
        std::string(R"({"__metadata__":{"a":"1","a":"2"}})"),
        std::string(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],)"
                    R"("data_offsets":[0,1]}})"),
        std::string(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],)"
                    R"("x":1,"x":1}})")}) {
    CAPTURE(text);
    CHECK_THAT(Refusal(text, 1), Contains("twice"));
  }
}

TEST_CASE("a tensor without dtype, shape or data_offsets is refused",
          "[safetensors]") {
  CHECK_THAT(Refusal(R"({"a":{}})", 0), Contains("has no dtype"));
  CHECK_THAT(Refusal(R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1),
             Contains("has no dtype"));
  CHECK_THAT(Refusal(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1),
             Contains("has no shape"));
  CHECK_THAT(Refusal(R"({"a":{"dtype":"U8","shape":[1]}})", 1),
             Contains("has no two data_offsets"));
  // What the tensor before it had does not count.
  CHECK_THAT(Refusal(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                     R"("a":{"shape":[1],"data_offsets":[1,2]}})",
                     2),
             Contains("tensor \"a\" has no dtype"));
}

TEST_CASE("types are known by their exact names", "[safetensors]") {
  for (const char* dtype : {"F128", "f32", "C128", "U8 ", ""}) {
    CHECK_THAT(
        Refusal(OneTensor("\"" + std::string(dtype) + "\"", "[1]", "[0,1]"), 1),
        Contains("has the dtype \"" + std::string(dtype) + "\""));
  }
  for (const char* dtype : {"1", "null", "[\"U8\"]", R"({"U8":null})"}) {
    CHECK_THAT(Refusal(OneTensor(dtype, "[1]", "[0,1]"), 1),
               Contains("dtype that is not a string"));
  }
}

TEST_CASE("sizes and offsets are plain whole numbers", "[safetensors]") {
  for (const char* bad :
       {"-1", "-0", "1.0", "1e0", "true", "null", "\"1\"", "[1]", "{}",
        "9223372036854775808", "18446744073709551616"}) {
    const std::string number = bad;
    CAPTURE(number);
    CHECK_THAT(Refusal(OneTensor("\"U8\"", "[" + number + "]", "[0,1]"), 1),
               Contains("shape that is not a list of whole numbers"));
    CHECK_THAT(Refusal(OneTensor("\"U8\"", "[1]", "[0," + number + "]"), 1),
               Contains("data_offsets that is not a list of whole numbers"));
  }
  for (const char* bad : {"1", "null", "\"1\"", "{}", R"({"0":1})"}) {
    CHECK_THAT(Refusal(OneTensor("\"U8\"", bad, "[0,1]"), 1),
               Contains("shape that is not a list"));
  }
  CHECK_THAT(Refusal(OneTensor("\"U8\"", "[1]", "[0]"), 1),
             Contains("no two data_offsets"));
  CHECK_THAT(Refusal(OneTensor("\"U8\"", "[1]", "[0,1,2]"), 1),
             Contains("more than two data_offsets"));
}

TEST_CASE("torch's 64 dimensions are the most", "[safetensors]") {
  const auto ones = [](int count) {
    std::string list = "[1";
    for (int i = 1; i < count; ++i) list += ",1";
    return list + "]";
  };
  CHECK(ParseText(OneTensor("\"U8\"", ones(64), "[0,1]"), 1).ok());
  CHECK_THAT(Refusal(OneTensor("\"U8\"", ones(65), "[0,1]"), 1),
             Contains("more than 64 dimensions"));
}

TEST_CASE("tensors lie one after the other", "[safetensors]") {
  const auto two = [](const char* a, const char* b) {
    return R"({"a":{"dtype":"U8","shape":[1],"data_offsets":)" +
           std::string(a) +
           R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" +
           std::string(b) + "}}";
  };
  REQUIRE(ParseText(two("[0,1]", "[1,3]"), 3).ok());
  REQUIRE(ParseText(two("[2,3]", "[0,2]"), 3).ok());
  CHECK_THAT(Refusal(two("[1,2]", "[2,4]"), 4),
             Contains("tensor \"a\" has its data at [1, 2)"));
  CHECK_THAT(Refusal(two("[0,1]", "[2,4]"), 4),
             Contains("tensor \"b\" has its data at [2, 4)"));
  CHECK_THAT(Refusal(two("[0,1]", "[0,2]"), 2), Contains("overlap"));
  CHECK_THAT(Refusal(two("[0,2]", "[1,3]"), 3), Contains("\"a\" of shape [1]"));
  CHECK_THAT(Refusal(two("[0,1]", "[1,0]"), 1),
             Contains("tensor \"b\" has its data at [1, 0), where"));
}

TEST_CASE("a tensor's data fits its shape and type", "[safetensors]") {
  CHECK_THAT(Refusal(OneTensor("\"F32\"", "[2]", "[0,4]"), 4),
             Contains("of shape [2] and type F32 needs 8 bytes"));
  CHECK_THAT(Refusal(OneTensor("\"F4\"", "[3]", "[0,2]"), 2),
             Contains("does not fill whole bytes"));
  CHECK_THAT(
      Refusal(OneTensor("\"I32\"", "[4611686018427387904,2]", "[0,16]"), 16),
      Contains("2^63 elements"));
  CHECK_THAT(
      Refusal(OneTensor("\"I32\"", "[4611686018427387904]", "[0,16]"), 16),
      Contains("2^63 of them"));
}

TEST_CASE("where the zero stands among sizes changes nothing",
          "[safetensors]") {
  for (const char* shape : {"[0,4611686018427387904,4611686018427387904]",
                            "[4611686018427387904,0,4611686018427387904]",
                            "[4611686018427387904,4611686018427387904,0]"}) {
    CHECK_THAT(Refusal(OneTensor("\"I32\"", shape, "[0,0]"), 0),
               Contains("zeros not counted"));
  }
  CHECK(ParseText(OneTensor("\"I64\"", "[4611686018427387904,0]", "[0,0]"), 0)
            .ok());
}

TEST_CASE("the tensors are all of the file", "[safetensors]") {
  const std::string text = OneTensor("\"U8\"", "[2]", "[0,2]");
  REQUIRE(ParseText(text, 2).ok());
  CHECK_THAT(Refusal(text, 1), Contains("cut off"));
  CHECK_THAT(Refusal(text, 3), Contains("appended"));
  CHECK_THAT(Refusal("{}", 1), Contains("appended"));
}

TEST_CASE("an error names the tensor and says what to do", "[safetensors]") {
  const Status status =
      ParseText(R"({"w\n1":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}})",
                1)
          .status();
  CHECK(GetErrorDetail(status)->fqn == "w\n1");
  CHECK(Message(status) ==
        "not a valid safetensors file: tensor \"w\\x0a1\" of shape [2] and "
        "type U8 needs 2 bytes, and has its data at [0, 1) (it may be "
        "damaged, or not completely written or copied: save it again, or "
        "fetch it again)");
}

}  // namespace
}  // namespace dcp
