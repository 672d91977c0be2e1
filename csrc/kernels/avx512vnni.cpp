// AVX-512 with VNNI (Ice Lake, Sapphire Rapids, Zen 4 and later). The integer work is vpdpbusd: four u8 x s8 products
// summed into each 32-bit lane, which cannot overflow here: 4,096 * 255 * 127 < 2^31. Unpacking and float queries are
// left to AVX2, which is faster: 32 sums in the format's order are two chains of additions here, four there.
#include <immintrin.h>

#include "../floats.h"
#include "../kernel_table.h"
#include "../prefetch.h"
#include "common.h"
#include "pack_rows.h"
#include "refine_rows.h"
#include "rows.h"
#include "sketch_rows.h"
#include "sketches512.h"
#include "tiles512.h"
#include "vectors512.h"

namespace frazil {
namespace {

// ---------------------------------------------------------------- floats, for packing and refining

struct FloatVector {
  static constexpr std::size_t kLanes = 16;
  static __m512 load(const float* at) { return _mm512_loadu_ps(at); }
  static void store(float* at, __m512 v) { _mm512_storeu_ps(at, v); }
  static __m512 all(float x) { return _mm512_set1_ps(x); }
  static __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
  static __m512 sub(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
  static __m512 mul(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
  static __m512d load(const double* at) { return _mm512_loadu_pd(at); }
  static __m512d all(double x) { return _mm512_set1_pd(x); }
  static __m512d sub(__m512d a, __m512d b) { return _mm512_sub_pd(a, b); }
  static __m512d mul(__m512d a, __m512d b) { return _mm512_mul_pd(a, b); }
  static __m512i rounded(__m512 v) { return _mm512_cvtps_epi32(v); }
  static __m512i rounded(__m512d first, __m512d second) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtpd_epi32(first)), _mm512_cvtpd_epi32(second), 1);
  }
  static __m512 magnitude(__m512 v) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), v); }
  static __m512 where_negative(__m512 a, __m512 b, __m512 c) {
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(a)), c, b);
  }
  static __m512i first_order() {
    return _mm512_sub_epi32(_mm512_set1_epi32(kRefineIndices - 1),
                            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  }
  static __m512i next_order(__m512i order) { return _mm512_sub_epi32(order, _mm512_set1_epi32(kLanes)); }
  static __m512i key(__m512 v, __m512i order) {
    return _mm512_or_si512(_mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(-kRefineIndices)), order);
  }
  static __m512i larger(__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }
  static std::int32_t largest(__m512i v) { return _mm512_reduce_max_epi32(v); }
};

// ---------------------------------------------------------------- pack

struct PackVector {
  using Floats = FloatVector;
  static constexpr std::size_t kBlock = 64;

  static __m256i load_bits(const void* x) { return _mm256_loadu_si256(static_cast<const __m256i*>(x)); }
  static __m512 load_sixteen(const Half* x) { return _mm512_cvtph_ps(load_bits(x)); }
  static __m512 load_sixteen(const Bfloat16* x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_bits(x)), 16));
  }
  template <class T>
  static void widen(const T* x, float* to) {
    _mm512_store_ps(to, load_sixteen(x));
    _mm512_store_ps(to + 16, load_sixteen(x + 16));
  }

  // Adds the squares of 8 numbers, widened to double, to 8 of the 32 partial sums. On floats the product is exact and
  // the fused operation gives what the separate ones give; doubles are multiplied and added apart.
  static __m512d add_squares(__m512d sum, const float* x) {
    const __m512d v = _mm512_cvtps_pd(_mm256_loadu_ps(x));
    return _mm512_fmadd_pd(v, v, sum);
  }
  static __m512d add_squares(__m512d sum, const double* x) {
    const __m512d v = _mm512_loadu_pd(x);
    return _mm512_add_pd(sum, _mm512_mul_pd(v, v));
  }

  template <class Each>
  FRAZIL_INLINE static double sum_of_squares(Each&& each) {
    __m512d p[4];
    for_each_index<4>([&](auto k) FRAZIL_INLINE { p[k] = _mm512_setzero_pd(); });
    const auto add = [&](const auto* at) FRAZIL_INLINE {
      for_each_index<4>([&](auto k) FRAZIL_INLINE { p[k] = add_squares(p[k], at + 8 * k); });
    };
    each(add, true);
    const __m512d h8 = _mm512_add_pd(_mm512_add_pd(p[0], p[2]), _mm512_add_pd(p[1], p[3]));
    const __m256d h4 = _mm256_add_pd(_mm512_castpd512_pd256(h8), _mm512_extractf64x4_pd(h8, 1));
    const __m128d h2 = _mm_add_pd(_mm256_castpd256_pd128(h4), _mm256_extractf128_pd(h4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(h2, _mm_unpackhi_pd(h2, h2)));
  }

  // Saturating to s8 is the clipping. Packing works within 128-bit lanes, what comes out must be put in order: each
  // lane has 4 values of each of the vectors packed.
  template <Width W, std::size_t N, class Value, class Steps>
  FRAZIL_INLINE static void pack_blocks(const Value* x, const Steps& steps, std::uint8_t* out) {
    __m512i codes[N];
    for_each_index<N>([&](auto i) FRAZIL_INLINE {
      const Value* const at = x + 64 * i;
      codes[i] = _mm512_packs_epi16(_mm512_packs_epi32(steps(at), steps(at + 16)),
                                    _mm512_packs_epi32(steps(at + 32), steps(at + 48)));
    });
    if constexpr (W == kInt4) {
      __m512i pairs[N];
      for_each_index<N>([&](auto i) FRAZIL_INLINE {
        codes[i] = _mm512_max_epi8(_mm512_min_epi8(codes[i], _mm512_set1_epi8(7)), _mm512_set1_epi8(-8));
        codes[i] = _mm512_add_epi8(codes[i], _mm512_set1_epi8(8));
        pairs[i] = _mm512_maddubs_epi16(codes[i], _mm512_set1_epi16(0x0110));  // 16 * even + odd
      });
      // Word 8 * lane + source comes out where word 4 * source + lane belongs.
      const __m512i order = _mm512_set_epi16(31, 23, 15, 7, 30, 22, 14, 6, 29, 21, 13, 5, 28, 20, 12, 4, 27, 19, 11, 3,
                                             26, 18, 10, 2, 25, 17, 9, 1, 24, 16, 8, 0);
      const __m512i bytes = _mm512_permutexvar_epi16(order, _mm512_packus_epi16(pairs[0], pairs[N - 1]));
      if constexpr (N == 2) {
        _mm512_storeu_si512(out, bytes);
      } else {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_castsi512_si256(bytes));
      }
    } else {
      const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      for_each_index<N>([&](auto i) FRAZIL_INLINE {
        const __m512i flipped = _mm512_xor_si512(codes[i], _mm512_set1_epi8(-128));  // -128 -> 0
        _mm512_storeu_si512(out + 64 * i, _mm512_permutexvar_epi32(order, flipped));
      });
    }
  }
};

// ---------------------------------------------------------------- queries against rows where they lie

// Lane l of the result is the sum of the lanes of v[l].
__m512i sum_each(__m512i (&v)[16]) {
  // Halve the number of vectors by adding neighbours' halves, first by dwords, then by qwords, then by 128-bit lanes.
  __m512i pairs[8], quads[4];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    pairs[i] =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
  }
  for (int i = 0; i < 4; ++i) {
    quads[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]),
                                _mm512_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
  }
  // quads[i]: in each 128-bit lane a part of the sums of v[4i … 4i+3].
  const __m512i low =
      _mm512_add_epi32(_mm512_shuffle_i32x4(quads[0], quads[1], 0x44), _mm512_shuffle_i32x4(quads[0], quads[1], 0xee));
  const __m512i high =
      _mm512_add_epi32(_mm512_shuffle_i32x4(quads[2], quads[3], 0x44), _mm512_shuffle_i32x4(quads[2], quads[3], 0xee));
  return _mm512_add_epi32(_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(low, high, 0xdd));
}

// So many rows at a time: with up to 4 queries, 16 sums at most.
constexpr std::size_t rows_together(std::size_t queries) { return queries == 1 ? 16 : queries == 2 ? 8 : 4; }

// Some rows of Chunks * 64 bytes each, row_at(0), (1) …, with Q queries, asking for what lies `ahead`. Lane q *
// rows_together(Q) + r of the result is of query q and row r.
template <Width W, std::size_t Chunks, std::size_t Q, class RowAt>
FRAZIL_INLINE inline __m512i dot_some_rows(RowAt&& row_at, const Ahead& ahead, const std::int8_t* queries) {
  constexpr std::size_t kRows = rows_together(Q), kVectors = planes(W) * Chunks;
  constexpr bool kHeld = Q <= 2;  // in registers, beside the sums
  const auto load = [&](std::size_t i) FRAZIL_INLINE { return _mm512_loadu_si512(queries + 64 * i); };
  __m512i entries[kHeld ? Q * kVectors : 1], sums[16];
  if constexpr (kHeld) for_each_index<Q * kVectors>([&](auto i) FRAZIL_INLINE { entries[i] = load(i); });
  for_each_index<16>([&](auto i) FRAZIL_INLINE { sums[i] = _mm512_setzero_si512(); });
  for_each_index<kRows>([&](auto r) FRAZIL_INLINE {
    const std::uint8_t* const row = row_at(r);
    ask(ahead, row, Chunks * 64);
    // One loop for all three: lambdas in lambdas in lambdas take minutes to compile with sanitizers.
    for_each_index<kVectors * Q>([&](auto i) FRAZIL_INLINE {
      constexpr std::size_t q = i % Q, plane = i / Q % planes(W), c = i / Q / planes(W);
      constexpr std::size_t kEntries = q * kVectors + plane * Chunks + c;
      const __m512i codes = split<W>(_mm512_loadu_si512(row + 64 * c), plane);
      __m512i& sum = sums[q * kRows + r];
      sum = _mm512_dpbusd_epi32(sum, codes, kHeld ? entries[kHeld ? kEntries : 0] : load(kEntries));
    });
  });
  return sum_each(sums);
}

// Sixteen rows of any width, one query.
template <Width W, class RowAt>
FRAZIL_INLINE inline __m512i dot_sixteen_rows(RowAt&& row_at, const Ahead& ahead, std::size_t row_bytes,
                                              const std::int8_t* query) {
  const std::uint8_t* rows[16];
  __m512i sums[16];
  for_each_index<16>([&](auto r) FRAZIL_INLINE {
    rows[r] = row_at(r);
    sums[r] = _mm512_setzero_si512();
  });
  const auto add = [&](std::size_t j, auto&& load) FRAZIL_INLINE {
    __m512i entries[planes(W)], bytes;
    for_each_index<planes(W)>([&](auto plane) FRAZIL_INLINE {
      entries[plane] = _mm512_loadu_si512(query + plane * plane_stride(row_bytes) + j);
    });
    for_each_index<16 * planes(W)>([&](auto i) FRAZIL_INLINE {
      constexpr std::size_t plane = i % planes(W), r = i / planes(W);
      if constexpr (plane == 0) {
        ask(ahead, rows[r] + j, kLineBytes);
        bytes = load(rows[r] + j);
      }
      sums[r] = _mm512_dpbusd_epi32(sums[r], split<W>(bytes, plane), entries[plane]);
    });
  };
  std::size_t j = 0;
  for (; j + 64 <= row_bytes; j += 64) add(j, [](const std::uint8_t* at) { return _mm512_loadu_si512(at); });
  if (j < row_bytes) {
    const __mmask64 mask = head64(row_bytes - j);
    add(j, [mask](const std::uint8_t* at) { return _mm512_maskz_loadu_epi8(mask, at); });
  }
  return sum_each(sums);
}

// Up to fifteen rows of any width, one query.
template <Width W, class RowAt>
__m512i dot_few_rows(RowAt&& row_at, std::size_t n, std::size_t row_bytes, const std::int8_t* query) {
  const std::uint8_t* rows[15];
  for (std::size_t i = 0; i < n; ++i) rows[i] = row_at(i);
  __m512i sums[16];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  for (std::size_t j = 0; j < row_bytes; j += 64) {
    const __mmask64 mask = head64(row_bytes - j);
    for_each_index<planes(W)>([&](auto plane) FRAZIL_INLINE {
      const __m512i entries = _mm512_loadu_si512(query + plane * plane_stride(row_bytes) + j);
      for (std::size_t i = 0; i < n; ++i) {
        const __m512i codes = split<W>(_mm512_maskz_loadu_epi8(mask, rows[i] + j), plane);
        sums[i] = _mm512_dpbusd_epi32(sums[i], codes, entries);
      }
    });
  }
  return sum_each(sums);
}

// 256 dimensions.
template <Width W>
constexpr std::size_t kUsualBytes = W == kInt8 ? 256 : 128;

// Whether rows of 64 to 256 bytes have code of their own. A sanitizer would take minutes for it, and finds the same in
// that of 256 dimensions.
#if defined(FRAZIL_SANITIZED)
constexpr bool kOwnWidths = false;
#else
constexpr bool kOwnWidths = true;
#endif

// Fills the dots of Q queries with the rows at row_at(i); several queries, if rows are of 256 dimensions.
template <Width W, std::size_t Q, class RowAt>
void dot_rows_at(RowAt&& row_at, const Ahead& ahead, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
                 std::int32_t* dots, std::size_t dots_stride) {
  constexpr std::size_t kRows = rows_together(Q);
  std::size_t r = 0;
  const auto at = [&](std::size_t i) FRAZIL_INLINE { return row_at(r + i); };
  const auto by_chunks = [&](auto chunks) FRAZIL_INLINE {
    for (; r + kRows <= n; r += kRows) {
      const __m512i all = dot_some_rows<W, chunks, Q>(at, ahead, queries);
      if constexpr (Q == 1) {
        _mm512_storeu_si512(dots + r, all);
      } else if constexpr (Q == 2) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots + r), _mm512_castsi512_si256(all));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots + dots_stride + r), _mm512_extracti64x4_epi64(all, 1));
      } else {
        for_each_index<Q>([&](auto q) FRAZIL_INLINE {
          auto* const to = reinterpret_cast<__m128i*>(dots + q * dots_stride + r);
          _mm_storeu_si128(to, _mm512_extracti32x4_epi32(all, q));
        });
      }
    }
  };
  if (row_bytes == kUsualBytes<W>) {
    by_chunks(std::integral_constant<std::size_t, kUsualBytes<W> / 64>{});
  } else if constexpr (Q == 1) {
    if constexpr (kOwnWidths) {
      if (row_bytes == 64) by_chunks(std::integral_constant<std::size_t, 1>{});
      if (row_bytes == 128) by_chunks(std::integral_constant<std::size_t, 2>{});
      if (row_bytes == 192) by_chunks(std::integral_constant<std::size_t, 3>{});
      if (row_bytes == 256) by_chunks(std::integral_constant<std::size_t, 4>{});
    }
    for (; r + 16 <= n; r += 16) {
      _mm512_storeu_si512(dots + r, dot_sixteen_rows<W>(at, ahead, row_bytes, queries));
    }
  }
  for (std::size_t q = 0; r < n && q < Q; ++q) {
    const std::int8_t* const query = queries + q * planes(W) * plane_stride(row_bytes);
    _mm512_mask_storeu_epi32(dots + q * dots_stride + r, head16(n - r), dot_few_rows<W>(at, n - r, row_bytes, query));
  }
}

template <Width W>
void dot_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
              const std::int8_t* queries, std::size_t n_queries, std::int32_t* dots, std::size_t dots_stride,
              const Ahead& ahead) {
  const auto block = [&](std::size_t q, auto count) FRAZIL_INLINE {
    with_rows(rows, stride, [&](auto at) FRAZIL_INLINE {
      dot_rows_at<W, count>(at, q == 0 ? ahead : Ahead{}, n, row_bytes,
                            queries + q * planes(W) * plane_stride(row_bytes), dots + q * dots_stride, dots_stride);
    });
  };
  if (row_bytes == kUsualBytes<W>) {
    in_blocks_of<4, 3, 2, 1>(n_queries, block);
  } else {
    in_blocks_of<1>(n_queries, block);
  }
}

template <Width W>
void dot_picked(const std::uint8_t* rows, std::ptrdiff_t stride, const std::uint32_t* picked, std::size_t n,
                std::size_t row_bytes, const std::int8_t* query, std::int32_t* dots) {
  with_picked(rows, stride, picked, n, row_bytes,
              [&](auto at) FRAZIL_INLINE { dot_rows_at<W, 1>(at, {}, n, row_bytes, query, dots, n); });
}

std::size_t select(const std::int32_t* dots, std::size_t n, std::int32_t threshold, std::uint32_t* picked) {
  const __m512i least = _mm512_set1_epi32(threshold);
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  std::size_t count = 0;
  for (std::size_t i = 0; i < n; i += 16) {
    const __mmask16 inside = head16(n - i);
    const __mmask16 hits = _mm512_mask_cmpge_epi32_mask(inside, _mm512_maskz_loadu_epi32(inside, dots + i), least);
    if (hits == 0) continue;
    const __m512i indices = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(i)));
    const auto found = static_cast<std::size_t>(_mm_popcnt_u32(hits));
    _mm512_mask_storeu_epi32(picked + count, head16(found), _mm512_maskz_compress_epi32(hits, indices));
    count += found;
  }
  return count;
}

// ---------------------------------------------------------------- tiles: many queries

template <Width W>
void load_tile(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
               std::uint8_t* tile) {
  load_tile_by<W>(rows, stride, n, row_bytes, tile_steps(row_bytes), tile);
}

// ---------------------------------------------------------------- the unit's own rate

std::uint64_t dot_peak(std::uint64_t rounds, const std::uint8_t* codes, const std::int8_t* query, std::int32_t* sums) {
  __m512i sum[16];
  for_each_index<16>([&](auto i) FRAZIL_INLINE { sum[i] = _mm512_loadu_si512(sums + 16 * i); });
  const __m512i entries = _mm512_loadu_si512(query);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const __m512i bytes = _mm512_loadu_si512(codes + round % 8 * 64);
    for_each_index<16>([&](auto i) FRAZIL_INLINE {
      sum[i] = _mm512_dpbusd_epi32(sum[i], bytes, entries);
      FRAZIL_IN_PLACE(sum[i]);
    });
  }
  for_each_index<16>([&](auto i) FRAZIL_INLINE { _mm512_storeu_si512(sums + 16 * i, sum[i]); });
  return rounds * 16 * 64;
}

constexpr TileKernels kTiles{kGroup,
                             6,
                             kUsualQueries,
                             false,
                             tile_bytes,
                             {load_tile<kInt4>, load_tile<kInt8>, load_tile<kNormal4>},
                             {dot_tile<TileVector, kInt4, kQueryBlock>, dot_tile<TileVector, kInt8, kQueryBlock>,
                              dot_tile<TileVector, kInt4, kQueryBlock>}};

}  // namespace

extern constinit const Kernels kernels_avx512vnni{
    .name = "avx512vnni",
    .pack_half = {pack<PackVector, kInt4, Half>, pack<PackVector, kInt8, Half>},
    .pack_bfloat16 = {pack<PackVector, kInt4, Bfloat16>, pack<PackVector, kInt8, Bfloat16>},
    .pack_single = {pack<PackVector, kInt4, float>, pack<PackVector, kInt8, float>},
    .pack_double = {pack<PackVector, kInt4, double>, pack<PackVector, kInt8, double>},
    .metric_rows = metric_rows<FloatVector>,
    .refine_row = refine_row<FloatVector>,
    .dot_rows = {dot_rows<kInt4>, dot_rows<kInt8>, dot_rows<kNormal4>},
    .dot_picked = {dot_picked<kInt4>, dot_picked<kInt8>, dot_picked<kNormal4>},
    .select = select,
    .sketch_rows = {sketch_rows<kInt4>, sketch_rows<kInt8>},
    .sketch_select = sketch_select,
    .tiles = &kTiles,
    .dot_peak = dot_peak,
};

}  // namespace frazil
