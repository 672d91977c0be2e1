// Sketches scanned with vectors of 256 bits, which hold one of the bytes of half a block's rows. In an unnamed
// namespace: see format.h.
#pragma once

#include "../kernel_table.h"
#include "../prefetch.h"
#include "common.h"
#include "vectors256.h"

namespace frazil {
namespace {

// The bounds of 8 rows, from their sums of entries.
__m256 sketch_bounds(const std::uint16_t* sums, const std::uint8_t* factors, const SketchQuery& query) {
  const auto eight = [](const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); };
  const __m256 sum = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(eight(sums)));
  const __m256 factor = _mm256_cvtph_ps(eight(factors));
  const __m256 error = _mm256_cvtph_ps(eight(factors + 2 * kSketchRows));
  const __m256 line = _mm256_add_ps(_mm256_mul_ps(sum, _mm256_set1_ps(query.slope)), _mm256_set1_ps(query.offset));
  const __m256 width = _mm256_add_ps(_mm256_mul_ps(error, _mm256_set1_ps(query.width)), _mm256_set1_ps(query.base));
  const __m256 estimate = _mm256_mul_ps(_mm256_max_ps(line, _mm256_mul_ps(line, _mm256_set1_ps(query.below))), factor);
  return _mm256_add_ps(estimate, width);
}

// The sums of entries of 32 rows for Q queries, which share what it takes to bring the bits in place.
template <std::size_t Q>
FRAZIL_INLINE inline void sketch_sums(const std::uint8_t* at, std::size_t bytes, const SketchQuery* queries,
                                      std::ptrdiff_t ahead, std::uint16_t (&sums)[Q][32]) {
  __m256i all[Q], odd[Q];  // sums of even rows + 256 * those of odd ones; of odd rows
  for_each_index<Q>([&](auto q) FRAZIL_INLINE { all[q] = odd[q] = _mm256_setzero_si256(); });
  for (std::size_t j = 0; j < bytes; j += 4) {
    __m256i eight[Q];  // entries, at most 8 * 31: they fit into bytes
    for_each_index<Q>([&](auto q) FRAZIL_INLINE { eight[q] = _mm256_setzero_si256(); });
    for_each_index<4>([&](auto t) FRAZIL_INLINE {
      if (ahead != 0) prefetch(at + t * kSketchRows + ahead, 1);
      const __m256i codes = load256(at + t * kSketchRows);
      const __m256i low = low_nibbles(codes), high = high_nibbles(codes);
      for_each_index<Q>([&](auto q) FRAZIL_INLINE {
        const std::uint8_t* const tables = queries[q].tables + 2 * (j + t) * kTableEntries;
        const __m256i two = _mm256_add_epi8(look_up(tables, low), look_up(tables + kTableEntries, high));
        eight[q] = _mm256_add_epi8(eight[q], two);
        FRAZIL_IN_PLACE(eight[q]);
      });
    });
    at += 4 * kSketchRows;
    for_each_index<Q>([&](auto q) FRAZIL_INLINE {
      all[q] = _mm256_add_epi16(all[q], eight[q]);
      odd[q] = _mm256_add_epi16(odd[q], _mm256_srli_epi16(eight[q], 8));
    });
  }
  for_each_index<Q>([&](auto q) FRAZIL_INLINE {
    const __m256i even = _mm256_sub_epi16(all[q], _mm256_slli_epi16(odd[q], 8));
    const __m256i low = _mm256_unpacklo_epi16(even, odd[q]), high = _mm256_unpackhi_epi16(even, odd[q]);
    store256(sums[q], _mm256_permute2x128_si256(low, high, 0x20));
    store256(sums[q] + 16, _mm256_permute2x128_si256(low, high, 0x31));
  });
}

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
FRAZIL_INLINE inline void sketch_pick(const std::uint16_t* sums, const std::uint8_t* factors, const SketchQuery& query,
                                      std::size_t first, SketchPicks& picks) {
  const __m256 least = _mm256_set1_ps(picks.least);
  __m256 upper[4];
  unsigned hits[4];
  for_each_index<4>([&](auto i) FRAZIL_INLINE {
    upper[i] = sketch_bounds(sums + 8 * i, factors + 16 * i, query);
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
                        std::ptrdiff_t ahead, SketchPicks* picks) {
  for (std::size_t q = 0; q < Q; ++q) picks[q].count = 0;
  for (std::size_t b = 0; b < n; ++b, blocks += shape.block_bytes()) {
    for (std::size_t half = 0; half < kSketchRows; half += 32) {
      alignas(32) std::uint16_t sums[Q][32];
      sketch_sums<Q>(blocks + half, shape.bytes(), queries, half == 0 ? ahead : 0, sums);
      for_each_index<Q>([&](auto q) FRAZIL_INLINE {
        sketch_pick(sums[q], blocks + shape.factors_at() + 2 * half, queries[q], b * kSketchRows + half, picks[q]);
      });
    }
  }
}

void sketch_select(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery* queries,
                   std::size_t n_queries, std::ptrdiff_t ahead, SketchPicks* picks) {
  constexpr std::size_t kTogether = 2;
  std::size_t q = 0;
  for (; q + kTogether <= n_queries; q += kTogether) {
    sketch_select_some<kTogether>(blocks, n, shape, queries + q, q == 0 ? ahead : 0, picks + q);
  }
  for (; q < n_queries; ++q) sketch_select_some<1>(blocks, n, shape, queries + q, q == 0 ? ahead : 0, picks + q);
}

}  // namespace
}  // namespace frazil
