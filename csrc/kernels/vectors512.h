// What the kernels of 512 bits share. In an unnamed namespace: see format.h.
#pragma once

#include <immintrin.h>

#include "../format.h"
#include "common.h"

namespace frazil {
namespace {

constexpr __mmask16 head16(std::size_t n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1); }
constexpr __mmask64 head64(std::size_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

// A table of 16 bytes, in each 128 bits of a vector.
__m512i four_times(const std::uint8_t* table) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
}

// What a plane holds of 64 bytes of a row: the levels of high or of low nibbles, or bytes as they are.
template <Width W>
FRAZIL_INLINE inline __m512i split(__m512i bytes, std::size_t plane) {
  if constexpr (W == kInt8) return bytes;
  const __m512i codes = _mm512_and_si512(plane == 0 ? _mm512_srli_epi16(bytes, 4) : bytes, _mm512_set1_epi8(15));
  if constexpr (W == kInt4) return codes;
  return _mm512_shuffle_epi8(four_times(kNormalLevels), codes);
}

}  // namespace
}  // namespace frazil
