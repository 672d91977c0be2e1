// Sketches scanned with vectors of 512 bits, which hold one of the bytes of 64 rows. In an unnamed namespace: see
// format.h.
#pragma once

#include <immintrin.h>

#include "../kernel_table.h"
#include "sketch_sums.h"
#include "vectors512.h"

namespace frazil {
namespace {

struct SketchVector {
  static __m512i zero() { return _mm512_setzero_si512(); }
  static __m512i load(const void* at) { return _mm512_loadu_si512(at); }
  static __m512i low_nibbles(__m512i bytes) { return _mm512_and_si512(bytes, _mm512_set1_epi8(15)); }
  static __m512i high_nibbles(__m512i bytes) { return low_nibbles(_mm512_srli_epi16(bytes, 4)); }
  static __m512i look_up(const std::uint8_t* table, __m512i codes) {
    return _mm512_shuffle_epi8(four_times(table), codes);
  }
  static __m512i add8(__m512i a, __m512i b) { return _mm512_add_epi8(a, b); }
  static __m512i add16(__m512i a, __m512i b) { return _mm512_add_epi16(a, b); }
  static __m512i sub16(__m512i a, __m512i b) { return _mm512_sub_epi16(a, b); }
  static __m512i left(__m512i v) { return _mm512_slli_epi16(v, 8); }
  static __m512i right(__m512i v) { return _mm512_srli_epi16(v, 8); }
  static __m512 all(float x) { return _mm512_set1_ps(x); }
  static __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
  static __m512 multiply(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
  static __m512 larger(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
};

// The tables of Q queries where each fills a whole vector, side by side: filling it with 16 bytes is the work of the
// unit that looks up, on a Zen 4 as much of it as looking up.
template <std::size_t Q>
struct WideTables {
  static constexpr std::size_t kBits = 1024 / Q;  // of a sketch, that there is room for

  WideTables(const SketchQuery* queries, std::size_t bits) {
    for (std::size_t i = 0; i < bits / 4; ++i) {
      for_each_index<Q>([&](auto q) FRAZIL_INLINE {
        _mm512_store_si512(of[i * Q + q], four_times(queries[q].tables + i * kTableEntries));
      });
    }
  }
  FRAZIL_INLINE __m512i look_up(std::size_t i, std::size_t q, __m512i codes) const {
    return _mm512_shuffle_epi8(_mm512_load_si512(of[i * Q + q]), codes);
  }

  alignas(64) std::uint8_t of[kBits / 4 * Q][64];
};

// Numbers of a block's rows by fours: lane i of vector k is row 4i + k.
struct ByFours {
  __m512 of[4];
};

// Where rows 4i and 4i + 1 lie among 64 halves, and rows 4i + 2 and 4i + 3.
alignas(64) constexpr std::uint16_t kByFours[2][32] = {{0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60,
                                                        1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45, 49, 53, 57, 61},
                                                       {2, 6, 10, 14, 18, 22, 26, 30, 34, 38, 42, 46, 50, 54, 58, 62,
                                                        3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47, 51, 55, 59, 63}};

ByFours load_by_fours(const std::uint8_t* halves) {
  const __m512i low = _mm512_loadu_si512(halves), high = _mm512_loadu_si512(halves + 64);
  ByFours rows;
  for_each_index<2>([&](auto i) FRAZIL_INLINE {
    const __m512i two = _mm512_permutex2var_epi16(low, _mm512_load_si512(kByFours[i]), high);
    rows.of[2 * i] = _mm512_cvtph_ps(_mm512_castsi512_si256(two));
    rows.of[2 * i + 1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(two, 1));
  });
  return rows;
}

// In vector l the rows 16l … 16l + 15.
FRAZIL_INLINE inline void in_order(const ByFours& rows, __m512 (&sixteens)[4]) {
  __m512 fours[4];  // in 128-bit lane l of vector k: rows 16l + 4k … 16l + 4k + 3
  for_each_index<2>([&](auto i) FRAZIL_INLINE {
    const __m512 first =
        i == 0 ? _mm512_unpacklo_ps(rows.of[0], rows.of[1]) : _mm512_unpackhi_ps(rows.of[0], rows.of[1]);
    const __m512 last =
        i == 0 ? _mm512_unpacklo_ps(rows.of[2], rows.of[3]) : _mm512_unpackhi_ps(rows.of[2], rows.of[3]);
    fours[2 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(first), _mm512_castps_pd(last)));
    fours[2 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(first), _mm512_castps_pd(last)));
  });
  const __m512 a = _mm512_shuffle_f32x4(fours[0], fours[1], 0x44), b = _mm512_shuffle_f32x4(fours[2], fours[3], 0x44);
  const __m512 c = _mm512_shuffle_f32x4(fours[0], fours[1], 0xee), d = _mm512_shuffle_f32x4(fours[2], fours[3], 0xee);
  sixteens[0] = _mm512_shuffle_f32x4(a, b, 0x88);
  sixteens[1] = _mm512_shuffle_f32x4(a, b, 0xdd);
  sixteens[2] = _mm512_shuffle_f32x4(c, d, 0x88);
  sixteens[3] = _mm512_shuffle_f32x4(c, d, 0xdd);
}

// Picks rows of one block of 64, which are numbered from `first`.
FRAZIL_INLINE inline void sketch_pick(const SketchSums<SketchVector>& sums, const ByFours& factors,
                                      const ByFours& errors, const SketchQuery& query, std::size_t first,
                                      SketchPicks& picks) {
  const __m512i even = sums.even();
  const __m512i low = _mm512_set1_epi32(0xffff);
  const __m512i by_fours[4] = {_mm512_and_si512(even, low), _mm512_and_si512(sums.odd, low),
                               _mm512_srli_epi32(even, 16), _mm512_srli_epi32(sums.odd, 16)};
  const __m512 least = _mm512_set1_ps(picks.least);
  ByFours bounds;
  unsigned any = 0;
  for_each_index<4>([&](auto k) FRAZIL_INLINE {
    bounds.of[k] = sketch_bounds<SketchVector>(_mm512_cvtepi32_ps(by_fours[k]), factors.of[k], errors.of[k], query);
    any |= _mm512_cmp_ps_mask(bounds.of[k], least, _CMP_GT_OQ);
  });
  if (any == 0) return;
  __m512 sixteens[4];
  in_order(bounds, sixteens);
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  // No branch for each 16 rows: where some pass about as often as none, it would be guessed wrong.
  for_each_index<4>([&](auto l) FRAZIL_INLINE {
    const __m512i rows = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(first + 16 * l)));
    const __mmask16 hits = _mm512_cmp_ps_mask(sixteens[l], least, _CMP_GT_OQ);
    // All 16 lanes are stored: there is room, and what comes next writes over those that are none.
    _mm512_storeu_si512(picks.rows + picks.count, _mm512_maskz_compress_epi32(hits, rows));
    _mm512_storeu_ps(picks.bounds + picks.count, _mm512_maskz_compress_ps(hits, sixteens[l]));
    picks.count += static_cast<std::size_t>(_mm_popcnt_u32(hits));
  });
}

template <std::size_t Q, class Tables>
void sketch_select_by(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery* queries,
                      const Tables& tables, const Ahead& ahead, SketchPicks* picks) {
  for (std::size_t q = 0; q < Q; ++q) picks[q].count = 0;
  for (std::size_t b = 0; b < n; ++b, blocks += shape.block_bytes()) {
    SketchSums<SketchVector> sums[Q];
    sketch_sums(blocks, shape.bytes(), tables, ahead, sums);
    const std::uint8_t* const numbers = blocks + shape.factors_at();
    const ByFours factors = load_by_fours(numbers), errors = load_by_fours(numbers + 2 * kSketchRows);
    for (std::size_t q = 0; q < Q; ++q) sketch_pick(sums[q], factors, errors, queries[q], b * kSketchRows, picks[q]);
  }
}

void sketch_select(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery* queries,
                   std::size_t n_queries, const Ahead& ahead, SketchPicks* picks) {
  in_blocks_of<4, 2, 1>(n_queries, [&](std::size_t q, auto count) FRAZIL_INLINE {
    if (shape.bits <= WideTables<count>::kBits) {
      const WideTables<count> tables(queries + q, shape.bits);
      sketch_select_by<count>(blocks, n, shape, queries + q, tables, q == 0 ? ahead : Ahead{}, picks + q);
    } else {
      const NarrowTables<SketchVector> tables{queries + q};
      sketch_select_by<count>(blocks, n, shape, queries + q, tables, q == 0 ? ahead : Ahead{}, picks + q);
    }
  });
}

}  // namespace
}  // namespace frazil
