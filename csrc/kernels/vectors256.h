// What the sets of 256-bit vectors share: loading, transposing, summing, walking over rows. See format.h on why all of
// it is in an unnamed namespace: each file that includes this compiles it with its own flags.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "../kernel_table.h"
#include "common.h"
#include "rows.h"

namespace frazil {
namespace {

[[maybe_unused]] __m256i load256(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }
[[maybe_unused]] void store256(void* at, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(at), v); }

// The n < 32 bytes at `at`, then zeros.
[[maybe_unused]] __m256i load_head(const std::uint8_t* at, std::size_t n) {
  alignas(32) std::uint8_t bytes[32] = {};
  std::memcpy(bytes, at, n);
  return load256(bytes);
}
// The first n bytes at `at`, of which 32 are read if there are so many.
[[maybe_unused]] __m256i load_bytes(const std::uint8_t* at, std::size_t n) {
  return n >= 32 ? load256(at) : load_head(at, n);
}

[[maybe_unused]] __m256i high_nibbles(__m256i bytes) {
  return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
}
[[maybe_unused]] __m256i low_nibbles(__m256i bytes) { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }

// Looks up in a table of 16 bytes.
[[maybe_unused]] __m256i look_up(const std::uint8_t* table, __m256i codes) {
  const __m128i sixteen = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(sixteen), codes);
}

// What a plane holds of 32 bytes of a row: the levels of high or of low nibbles, or bytes as they are.
template <Width W>
[[maybe_unused]] FRAZIL_INLINE inline __m256i split(__m256i bytes, std::size_t plane) {
  if constexpr (W == kInt8) return bytes;
  const __m256i codes = plane == 0 ? high_nibbles(bytes) : low_nibbles(bytes);
  return W == kNormal4 ? look_up(static_cast<const std::uint8_t*>(kNormalLevels), codes) : codes;
}

// For rows.h.
struct RowVector {
  static constexpr std::size_t kLanes = 8;
  static __m256i zero() { return _mm256_setzero_si256(); }
  static void store(void* at, __m256i v) { store256(at, v); }
  static __m256i sum_each(const __m256i (&v)[8]) {
    __m256i pairs[4], quads[2];
    for (int i = 0; i < 4; ++i) {
      pairs[i] = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                  _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    }
    for (int i = 0; i < 2; ++i) {
      quads[i] = _mm256_add_epi32(_mm256_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]),
                                  _mm256_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
    }
    return _mm256_add_epi32(_mm256_permute2x128_si256(quads[0], quads[1], 0x20),
                            _mm256_permute2x128_si256(quads[0], quads[1], 0x31));
  }
};

// Tiles are groups of 16 rows. In a group, for each plane of codes and each four bytes of it: 2 vectors of 8 rows x 4
// codes.
constexpr std::size_t kGroup = 16;

// Puts `steps` times four bytes of 8 rows into a tile, 64 bytes apart: load(r) gives 32 bytes of row r, put(bytes, to)
// splits and stores. In order, so that what is live fits into the registers.
template <class Load, class Put>
FRAZIL_INLINE inline void transpose(Load&& load, std::size_t steps, std::uint8_t* to, Put&& put) {
  __m256i v[8];  // v[4i + c]: in 128-bit lane l, dword 4l + c of rows 4i … 4i+3
  for_each_index<2>([&](auto i) FRAZIL_INLINE {
    const __m256i row[4] = {load(4 * i), load(4 * i + 1), load(4 * i + 2), load(4 * i + 3)};
    const __m256i low[2] = {_mm256_unpacklo_epi32(row[0], row[1]), _mm256_unpacklo_epi32(row[2], row[3])};
    const __m256i high[2] = {_mm256_unpackhi_epi32(row[0], row[1]), _mm256_unpackhi_epi32(row[2], row[3])};
    v[4 * i] = _mm256_unpacklo_epi64(low[0], low[1]);
    v[4 * i + 1] = _mm256_unpackhi_epi64(low[0], low[1]);
    v[4 * i + 2] = _mm256_unpacklo_epi64(high[0], high[1]);
    v[4 * i + 3] = _mm256_unpackhi_epi64(high[0], high[1]);
    for_each_index<4>([&](auto c) FRAZIL_INLINE { FRAZIL_IN_PLACE(v[4 * i + c]); });
  });
  for_each_index<4>([&](auto c) FRAZIL_INLINE {
    if (c < steps) put(_mm256_permute2x128_si256(v[c], v[4 + c], 0x20), to + 64 * c);
    if (4 + c < steps) put(_mm256_permute2x128_si256(v[c], v[4 + c], 0x31), to + 64 * (4 + c));
  });
}

// Fills a tile: split(bytes, plane) gives what the `Planes` planes hold of 32 bytes of a row.
template <std::size_t Planes, class Split>
FRAZIL_INLINE inline void load_planes(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n,
                                      std::size_t row_bytes, std::uint8_t* tile, Split&& split) {
  const std::size_t steps = tile_steps(row_bytes), plane_bytes = steps * 64;
  const auto put = [&](__m256i bytes, std::uint8_t* to) FRAZIL_INLINE {
    for_each_index<Planes>([&](auto plane) FRAZIL_INLINE { store256(to + plane * plane_bytes, split(bytes, plane)); });
  };
  for (std::size_t r = 0; r < n; r += 8, rows += 8 * stride) {
    std::uint8_t* const base = tile + r / kGroup * Planes * plane_bytes + r % kGroup * 4;
    for (std::size_t j = 0; j < row_bytes; j += 32) {
      const auto at = [&](std::size_t i) FRAZIL_INLINE { return rows + j + static_cast<std::ptrdiff_t>(i) * stride; };
      if (n - r >= 8 && row_bytes - j >= 32) {
        transpose([&](std::size_t i) FRAZIL_INLINE { return load256(at(i)); }, 8, base + j * 16, put);
      } else {
        const auto load = [&](std::size_t i) FRAZIL_INLINE {
          return r + i < n ? load_bytes(at(i), row_bytes - j) : _mm256_setzero_si256();
        };
        transpose(load, smaller(8, steps - j / 4), base + j * 16, put);
      }
    }
  }
}

}  // namespace
}  // namespace frazil
