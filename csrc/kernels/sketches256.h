// Sketches scanned with vectors of 256 bits, which hold one of the bytes of half a block's rows. In an unnamed
// namespace: see format.h.
#pragma once

#include "../kernel_table.h"
#include "sketch_sums.h"
#include "vectors256.h"

namespace frazil {
namespace {

struct SketchVector {
  static __m256i zero() { return _mm256_setzero_si256(); }
  static __m256i load(const void* at) { return load256(at); }
  static __m256i low_nibbles(__m256i bytes) { return frazil::low_nibbles(bytes); }
  static __m256i high_nibbles(__m256i bytes) { return frazil::high_nibbles(bytes); }
  static __m256i look_up(const std::uint8_t* table, __m256i codes) { return frazil::look_up(table, codes); }
  static __m256i add8(__m256i a, __m256i b) { return _mm256_add_epi8(a, b); }
  static __m256i add16(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
  static __m256i sub16(__m256i a, __m256i b) { return _mm256_sub_epi16(a, b); }
  static __m256i left(__m256i v) { return _mm256_slli_epi16(v, 8); }
  static __m256i right(__m256i v) { return _mm256_srli_epi16(v, 8); }
  static __m256 all(float x) { return _mm256_set1_ps(x); }
  static __m256 add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
  static __m256 multiply(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
  static __m256 larger(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
};

// The places of a mask's bits, ascending, for each mask of eight, and how many.
struct BitPlaces {
  std::uint8_t of[256][8] = {}, count[256] = {};

  constexpr BitPlaces() {
    for (unsigned mask = 0; mask < 256; ++mask) {
      for (std::uint8_t bit = 0; bit < 8; ++bit) {
        if (mask >> bit & 1) of[mask][count[mask]++] = bit;
      }
    }
  }
};
constexpr BitPlaces kBitPlaces;

// Picks rows of 32, which are numbered from `first`.
FRAZIL_INLINE inline void sketch_pick(const SketchSums<SketchVector>& sums, const std::uint8_t* factors,
                                      const SketchQuery& query, std::size_t first, SketchPicks& picks) {
  const __m256i even = sums.even();
  const __m256i low = _mm256_unpacklo_epi16(even, sums.odd), high = _mm256_unpackhi_epi16(even, sums.odd);
  alignas(32) std::uint16_t in_order[32];
  store256(in_order, _mm256_permute2x128_si256(low, high, 0x20));
  store256(in_order + 16, _mm256_permute2x128_si256(low, high, 0x31));
  const auto eight = [](const void* at) FRAZIL_INLINE { return _mm_loadu_si128(static_cast<const __m128i*>(at)); };
  const __m256 least = _mm256_set1_ps(picks.least);
  __m256 upper[4];
  unsigned hits[4];
  for_each_index<4>([&](auto i) FRAZIL_INLINE {
    const __m256 sum = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(eight(in_order + 8 * i)));
    const __m256 factor = _mm256_cvtph_ps(eight(factors + 16 * i));
    const __m256 error = _mm256_cvtph_ps(eight(factors + 16 * i + 2 * kSketchRows));
    upper[i] = sketch_bounds<SketchVector>(sum, factor, error, query);
    hits[i] = static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(upper[i], least, _CMP_GT_OQ)));
  });
  // One branch for all 32: where some of 8 rows pass about as often as none, one for each would be guessed wrong.
  if ((hits[0] | hits[1] | hits[2] | hits[3]) == 0) return;
  for_each_index<4>([&](auto i) FRAZIL_INLINE {
    const auto* const places = reinterpret_cast<const __m128i*>(kBitPlaces.of[hits[i]]);
    const __m256i from = _mm256_cvtepu8_epi32(_mm_loadl_epi64(places));
    const __m256i rows = _mm256_add_epi32(from, _mm256_set1_epi32(static_cast<int>(first + 8 * i)));
    // All eight are stored: there is room, and what comes next writes over those that are none.
    store256(picks.rows + picks.count, rows);
    _mm256_storeu_ps(picks.bounds + picks.count, _mm256_permutevar8x32_ps(upper[i], from));
    picks.count += kBitPlaces.count[hits[i]];
  });
}

template <std::size_t Q>
void sketch_select_some(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery* queries,
                        const Ahead& ahead, SketchPicks* picks) {
  for (std::size_t q = 0; q < Q; ++q) picks[q].count = 0;
  for (std::size_t b = 0; b < n; ++b, blocks += shape.block_bytes()) {
    for (std::size_t half = 0; half < kSketchRows; half += 32) {
      SketchSums<SketchVector> sums[Q];
      const NarrowTables<SketchVector> tables{queries};
      sketch_sums(blocks + half, shape.bytes(), tables, half == 0 ? ahead : Ahead{}, sums);
      for_each_index<Q>([&](auto q) FRAZIL_INLINE {
        sketch_pick(sums[q], blocks + shape.factors_at() + 2 * half, queries[q], b * kSketchRows + half, picks[q]);
      });
    }
  }
}

void sketch_select(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery* queries,
                   std::size_t n_queries, const Ahead& ahead, SketchPicks* picks) {
  in_blocks_of<2, 1>(n_queries, [&](std::size_t q, auto count) FRAZIL_INLINE {
    sketch_select_some<count>(blocks, n, shape, queries + q, q == 0 ? ahead : Ahead{}, picks + q);
  });
}

}  // namespace
}  // namespace frazil
