#include "base/vector_cast.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "base/element_codec.h"
#endif

namespace dcp {

#if defined(__x86_64__)
namespace {

constexpr int64_t kLanes = 8;

template <DType from, DType to>
void CastTail(const std::byte* src, std::byte* dst, int64_t count) {
  using From = ElementCodec<from>;
  using To = ElementCodec<to>;
  for (int64_t i = 0; i < count; ++i) {
    To::Store(From::Load(src + i * From::kItemSize), dst + i * To::kItemSize);
  }
}

__attribute__((target("avx2,f16c"))) void Float32ToFloat16(const std::byte* src,
                                                           std::byte* dst,
                                                           int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256 value =
        _mm256_loadu_ps(reinterpret_cast<const float*>(src + i * 4));
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(dst + i * 2),
        _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  CastTail<DType::kFloat32, DType::kFloat16>(src + i * 4, dst + i * 2,
                                             count - i);
}

__attribute__((target("avx2,f16c"))) void Float16ToFloat32(const std::byte* src,
                                                           std::byte* dst,
                                                           int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m128i bits =
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i * 2));
    _mm256_storeu_ps(reinterpret_cast<float*>(dst + i * 4),
                     _mm256_cvtph_ps(bits));
  }
  CastTail<DType::kFloat16, DType::kFloat32>(src + i * 2, dst + i * 4,
                                             count - i);
}

/// The bfloat16 bits of 8 floats, in the low halves of 32-bit lanes.
__attribute__((target("avx2"))) __m256i RoundToBFloat16(const std::byte* src) {
  const __m256i bits =
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src));
  const __m256i odd =
      _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(
      _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))),
      16);
  const __m256 value = _mm256_castsi256_ps(bits);
  const __m256i is_nan =
      _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc0), is_nan);
}

__attribute__((target("avx2"))) void Float32ToBFloat16(const std::byte* src,
                                                       std::byte* dst,
                                                       int64_t count) {
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    // packus works within 128-bit halves; the permutation puts them in order.
    const __m256i packed = _mm256_packus_epi32(
        RoundToBFloat16(src + i * 4), RoundToBFloat16(src + (i + kLanes) * 4));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + i * 2),
                        _mm256_permute4x64_epi64(packed, 0b11'01'10'00));
  }
  CastTail<DType::kFloat32, DType::kBFloat16>(src + i * 4, dst + i * 2,
                                              count - i);
}

}  // namespace

CastFunction* FindVectorCast(DType from, DType to) {
  using enum DType;
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("f16c")) {
    return nullptr;
  }
  if (from == kFloat32 && to == kFloat16) return Float32ToFloat16;
  if (from == kFloat16 && to == kFloat32) return Float16ToFloat32;
  if (from == kFloat32 && to == kBFloat16) return Float32ToBFloat16;
  return nullptr;
}

#else

CastFunction* FindVectorCast(DType, DType) { return nullptr; }

#endif

}  // namespace dcp
