// SSE4.1 with SSSE3 (Penryn, Nehalem, Bulldozer and later): what AVX2 does on vectors of half the length, without fused
// multiply-add and without conversion of halves, which are widened by their bits.
#include <smmintrin.h>

#include "../floats.h"
#include "../prefetch.h"
#include "expand_rows.h"
#include "pack_rows.h"
#include "products16.h"
#include "refine_rows.h"
#include "sketch_rows.h"
#include "sketch_sums.h"

namespace frazil {
namespace {

__m128i load128(const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); }
void store128(void* at, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(at), v); }

// The first n bytes at `at`, of which 16 are read if there are so many; then zeros.
__m128i load_bytes(const std::uint8_t* at, std::size_t n) {
  if (n >= 16) return load128(at);
  std::uint8_t bytes[16] = {};
  std::memcpy(bytes, at, n);
  return load128(bytes);
}

__m128i high_nibbles(__m128i bytes) { return _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15)); }
__m128i low_nibbles(__m128i bytes) { return _mm_and_si128(bytes, _mm_set1_epi8(15)); }

// Looks up in a table of 16 bytes.
__m128i look_up(const std::uint8_t* table, __m128i codes) { return _mm_shuffle_epi8(load128(table), codes); }

// ---------------------------------------------------------------- floats, for packing and refining

struct FloatVector {
  static constexpr std::size_t kLanes = 4;
  static __m128 load(const float* at) { return _mm_loadu_ps(at); }
  static void store(float* at, __m128 v) { _mm_storeu_ps(at, v); }
  static __m128 all(float x) { return _mm_set1_ps(x); }
  static __m128 add(__m128 a, __m128 b) { return _mm_add_ps(a, b); }
  static __m128 sub(__m128 a, __m128 b) { return _mm_sub_ps(a, b); }
  static __m128 mul(__m128 a, __m128 b) { return _mm_mul_ps(a, b); }
  static __m128d load(const double* at) { return _mm_loadu_pd(at); }
  static __m128d all(double x) { return _mm_set1_pd(x); }
  static __m128d sub(__m128d a, __m128d b) { return _mm_sub_pd(a, b); }
  static __m128d mul(__m128d a, __m128d b) { return _mm_mul_pd(a, b); }
  static __m128i rounded(__m128 v) { return _mm_cvtps_epi32(v); }
  static __m128i rounded(__m128d first, __m128d second) {
    return _mm_unpacklo_epi64(_mm_cvtpd_epi32(first), _mm_cvtpd_epi32(second));
  }
  static __m128 magnitude(__m128 v) { return _mm_andnot_ps(_mm_set1_ps(-0.0f), v); }
  static __m128 where_negative(__m128 a, __m128 b, __m128 c) { return _mm_blendv_ps(c, b, a); }
  static __m128i first_order() { return _mm_sub_epi32(_mm_set1_epi32(kRefineIndices - 1), _mm_setr_epi32(0, 1, 2, 3)); }
  static __m128i next_order(__m128i order) { return _mm_sub_epi32(order, _mm_set1_epi32(kLanes)); }
  static __m128i key(__m128 v, __m128i order) {
    return _mm_or_si128(_mm_and_si128(_mm_castps_si128(v), _mm_set1_epi32(-kRefineIndices)), order);
  }
  static __m128i larger(__m128i a, __m128i b) { return _mm_max_epi32(a, b); }
  static std::int32_t largest(__m128i v) {
    v = _mm_max_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
  }
};

// ---------------------------------------------------------------- pack

// The halves in the low 16 bits of four lanes, whose other bits are 0, as floats: what floats.h does to one.
__m128 widen_halves(__m128i bits) {
  const __m128i size = _mm_and_si128(bits, _mm_set1_epi32(0x7fff)), more = _mm_set1_epi32(112 << 23);
  const __m128i endless = _mm_cmpgt_epi32(size, _mm_set1_epi32(0x7bff));  // infinity and NaN
  const __m128i normal = _mm_add_epi32(_mm_add_epi32(_mm_slli_epi32(size, 13), more), _mm_and_si128(endless, more));
  const __m128 subnormal = _mm_mul_ps(_mm_cvtepi32_ps(size), _mm_set1_ps(0x1p-24f));
  const __m128 is_subnormal = _mm_castsi128_ps(_mm_cmplt_epi32(size, _mm_set1_epi32(0x400)));
  const __m128i sign = _mm_slli_epi32(_mm_xor_si128(bits, size), 16);
  return _mm_or_ps(_mm_blendv_ps(_mm_castsi128_ps(normal), subnormal, is_subnormal), _mm_castsi128_ps(sign));
}
__m128 load_halves(const void* at) {
  return widen_halves(_mm_cvtepu16_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(at))));
}

struct PackVector {
  using Floats = FloatVector;
  static constexpr std::size_t kBlock = 16;

  static __m128 load_four(const Half* x) { return load_halves(x); }
  static __m128 load_four(const Bfloat16* x) {
    const __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), bits));
  }
  template <class T>
  static void widen(const T* x, float* to) {
    for (std::size_t i = 0; i < kSums; i += 4) _mm_store_ps(to + i, load_four(x + i));
  }

  // Adds the squares of 4 numbers, widened to double, to 4 of the 32 partial sums.
  FRAZIL_INLINE static void add_squares(__m128d& sum0, __m128d& sum1, const float* x) {
    const __m128 v = _mm_loadu_ps(x);
    const __m128d v0 = _mm_cvtps_pd(v), v1 = _mm_cvtps_pd(_mm_movehl_ps(v, v));
    sum0 = _mm_add_pd(sum0, _mm_mul_pd(v0, v0));
    sum1 = _mm_add_pd(sum1, _mm_mul_pd(v1, v1));
  }
  FRAZIL_INLINE static void add_squares(__m128d& sum0, __m128d& sum1, const double* x) {
    const __m128d v0 = _mm_loadu_pd(x), v1 = _mm_loadu_pd(x + 2);
    sum0 = _mm_add_pd(sum0, _mm_mul_pd(v0, v0));
    sum1 = _mm_add_pd(sum1, _mm_mul_pd(v1, v1));
  }

  // 16 of the 32 partial sums at a time: all of them would take every register.
  template <class Each>
  FRAZIL_INLINE static double sum_of_squares(Each&& each) {
    __m128d p[2][8];
    for (std::size_t half = 0; half < 2; ++half) {
      __m128d sums[8];
      for_each_index<8>([&](auto k) FRAZIL_INLINE { sums[k] = _mm_setzero_pd(); });
      const auto add = [&](const auto* at) FRAZIL_INLINE {
        for_each_index<4>([&](auto k)
                              FRAZIL_INLINE { add_squares(sums[2 * k], sums[2 * k + 1], at + 16 * half + 4 * k); });
      };
      each(add, half == 0);
      for_each_index<8>([&](auto k) FRAZIL_INLINE { p[half][k] = sums[k]; });
    }
    for (std::size_t k = 0; k < 8; ++k) p[0][k] = _mm_add_pd(p[0][k], p[1][k]);
    for (std::size_t h = 4; h > 0; h /= 2) {
      for (std::size_t k = 0; k < h; ++k) p[0][k] = _mm_add_pd(p[0][k], p[0][k + h]);
    }
    return _mm_cvtsd_f64(_mm_add_sd(p[0][0], _mm_unpackhi_pd(p[0][0], p[0][0])));
  }

  // Saturating to s8 is the clipping.
  template <Width W, std::size_t N, class Value, class Steps>
  FRAZIL_INLINE static void pack_blocks(const Value* x, const Steps& steps, std::uint8_t* out) {
    __m128i pairs[N];
    for_each_index<N>([&](auto i) FRAZIL_INLINE {
      const Value* const at = x + 16 * i;
      __m128i codes =
          _mm_packs_epi16(_mm_packs_epi32(steps(at), steps(at + 4)), _mm_packs_epi32(steps(at + 8), steps(at + 12)));
      if constexpr (W == kInt4) {
        codes = _mm_max_epi8(_mm_min_epi8(codes, _mm_set1_epi8(7)), _mm_set1_epi8(-8));
        codes = _mm_add_epi8(codes, _mm_set1_epi8(8));
        pairs[i] = _mm_maddubs_epi16(codes, _mm_set1_epi16(0x0110));  // 16 * even + odd
      } else {
        store128(out + 16 * i, _mm_xor_si128(codes, _mm_set1_epi8(-128)));  // -128 -> 0
      }
    });
    if constexpr (W == kInt4) {
      const __m128i bytes = _mm_packus_epi16(pairs[0], pairs[N - 1]);
      if constexpr (N == 2) {
        store128(out, bytes);
      } else {
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
      }
    }
  }
};

// ---------------------------------------------------------------- codes as floats

template <Width W>
constexpr int kLevels = W == kInt4 ? 15 : 255;

// 2 * code - levels of 16 codes.
template <Width W>
struct Decoded {
  __m128 fours[4];
  explicit Decoded(__m128i codes) {
    for_each_index<4>([&](auto k) FRAZIL_INLINE {
      const __m128i wide = _mm_cvtepu8_epi32(_mm_srli_si128(codes, 4 * k));
      fours[k] = _mm_cvtepi32_ps(_mm_sub_epi32(_mm_slli_epi32(wide, 1), _mm_set1_epi32(kLevels<W>)));
    });
  }
};

template <Width W>
void unpack(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t dim, float half_step,
            float* out) {
  const __m128 scale = _mm_set1_ps(half_step);
  for (std::size_t r = 0; r < n; ++r, rows += stride, out += dim) {
    std::size_t i = 0;
    for (; i + 16 <= dim; i += 16) {
      __m128i codes;
      if constexpr (W == kInt4) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows + i / 2));
        codes = _mm_unpacklo_epi8(high_nibbles(bytes), low_nibbles(bytes));
      } else {
        codes = load128(rows + i);
      }
      const Decoded<W> steps(codes);
      for_each_index<4>([&](auto k)
                            FRAZIL_INLINE { _mm_storeu_ps(out + i + 4 * k, _mm_mul_ps(steps.fours[k], scale)); });
    }
    for (; i < dim; ++i) out[i] = static_cast<float>(2 * code_at<W>(rows, i) - kLevels<W>) * half_step;
  }
}

template <Width W>
void float_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
                const float* query, float half_step, float* scores) {
  const float* const second = query + plane_stride(row_bytes);
  for (std::size_t r = 0; r < n; ++r, rows += stride) {
    __m128 p[8];  // 32 partial sums
    for_each_index<8>([&](auto k) FRAZIL_INLINE { p[k] = _mm_setzero_ps(); });
    // Adds the products of 16 codes to 16 sums.
    const auto add = [&](auto first, __m128i codes, const float* q) FRAZIL_INLINE {
      const Decoded<W> steps(codes);
      for_each_index<4>([&](auto k) FRAZIL_INLINE {
        p[first + k] = _mm_add_ps(p[first + k], _mm_mul_ps(_mm_loadu_ps(q + 4 * k), steps.fours[k]));
      });
    };
    constexpr std::integral_constant<std::size_t, 0> kFirst{};
    constexpr std::integral_constant<std::size_t, 4> kSecond{};
    if constexpr (W == kInt4) {
      for (std::size_t j = 0; j < row_bytes; j += 16) {
        const __m128i bytes = load_bytes(rows + j, row_bytes - j);
        add(kFirst, high_nibbles(bytes), query + j);
        add(kSecond, low_nibbles(bytes), second + j);
      }
    } else {
      for (std::size_t j = 0; j < row_bytes; j += 32) {
        add(kFirst, load_bytes(rows + j, row_bytes - j), query + j);
        if (j + 16 < row_bytes) add(kSecond, load_bytes(rows + j + 16, row_bytes - j - 16), query + j + 16);
      }
    }
    for (std::size_t h = 4; h > 0; h /= 2) {
      for (std::size_t k = 0; k < h; ++k) p[k] = _mm_add_ps(p[k], p[k + h]);
    }
    const __m128 h2 = _mm_add_ps(p[0], _mm_movehl_ps(p[0], p[0]));
    scores[r] = _mm_cvtss_f32(_mm_add_ss(h2, _mm_movehdup_ps(h2))) * half_step + 0.0f;  // a zero is +0
  }
}

// ---------------------------------------------------------------- queries against rows where they lie

struct ProductVector {
  static constexpr std::size_t kLanes = 4;
  template <Width W>
  static constexpr bool kInPairs = W == kInt4;
  static __m128i zero() { return _mm_setzero_si128(); }
  static __m128i load(const void* at) { return load128(at); }
  static __m128i load_bytes(const std::uint8_t* at, std::size_t n) { return frazil::load_bytes(at, n); }
  static void store(void* at, __m128i v) { store128(at, v); }
  template <Width W>
  FRAZIL_INLINE static inline __m128i split(__m128i bytes, std::size_t plane) {
    if constexpr (W == kInt8) return bytes;
    const __m128i codes = plane == 0 ? high_nibbles(bytes) : low_nibbles(bytes);
    return W == kNormal4 ? look_up(static_cast<const std::uint8_t*>(kNormalLevels), codes) : codes;
  }
  static __m128i multiply(__m128i levels, __m128i entries) { return _mm_maddubs_epi16(levels, entries); }
  static __m128i add16(__m128i a, __m128i b) { return _mm_add_epi16(a, b); }
  static __m128i add32(__m128i a, __m128i b) { return _mm_add_epi32(a, b); }
  static __m128i widen(__m128i sums16) { return _mm_madd_epi16(sums16, _mm_set1_epi16(1)); }
  static __m128i times16(__m128i sums) { return _mm_slli_epi32(sums, 4); }
  static __m128i sum_each(const __m128i (&v)[4]) {
    return _mm_hadd_epi32(_mm_hadd_epi32(v[0], v[1]), _mm_hadd_epi32(v[2], v[3]));
  }
};

std::size_t select(const std::int32_t* dots, std::size_t n, std::int32_t threshold, std::uint32_t* picked) {
  const __m128i least = _mm_set1_epi32(threshold);
  const auto below = [&](const std::int32_t* at) { return _mm_cmpgt_epi32(least, load128(at)); };
  std::size_t count = 0, i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m128i first = _mm_packs_epi32(below(dots + i), below(dots + i + 4));
    const __m128i second = _mm_packs_epi32(below(dots + i + 8), below(dots + i + 12));
    auto hits = static_cast<unsigned>(~_mm_movemask_epi8(_mm_packs_epi16(first, second))) & 0xffff;
    for (; hits != 0; hits &= hits - 1) picked[count++] = static_cast<std::uint32_t>(i) + lowest_bit(hits);
  }
  for (; i < n; ++i) {
    if (dots[i] >= threshold) picked[count++] = static_cast<std::uint32_t>(i);
  }
  return count;
}

// ---------------------------------------------------------------- sketches

struct SketchVector {
  static __m128i zero() { return _mm_setzero_si128(); }
  static __m128i load(const void* at) { return load128(at); }
  static __m128i low_nibbles(__m128i bytes) { return frazil::low_nibbles(bytes); }
  static __m128i high_nibbles(__m128i bytes) { return frazil::high_nibbles(bytes); }
  static __m128i look_up(const std::uint8_t* table, __m128i codes) { return frazil::look_up(table, codes); }
  static __m128i add8(__m128i a, __m128i b) { return _mm_add_epi8(a, b); }
  static __m128i add16(__m128i a, __m128i b) { return _mm_add_epi16(a, b); }
  static __m128i sub16(__m128i a, __m128i b) { return _mm_sub_epi16(a, b); }
  static __m128i left(__m128i v) { return _mm_slli_epi16(v, 8); }
  static __m128i right(__m128i v) { return _mm_srli_epi16(v, 8); }
  static __m128 all(float x) { return _mm_set1_ps(x); }
  static __m128 add(__m128 a, __m128 b) { return _mm_add_ps(a, b); }
  static __m128 multiply(__m128 a, __m128 b) { return _mm_mul_ps(a, b); }
  static __m128 larger(__m128 a, __m128 b) { return _mm_max_ps(a, b); }
};

template <std::size_t Q>
void sketch_select_some(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery* queries,
                        const Ahead& ahead, SketchPicks* picks) {
  for (std::size_t q = 0; q < Q; ++q) picks[q].count = 0;
  for (std::size_t b = 0; b < n; ++b, blocks += shape.block_bytes()) {
    for (std::size_t part = 0; part < kSketchRows; part += 16) {
      SketchSums<SketchVector> sums[Q];
      const NarrowTables<SketchVector> tables{queries};
      sketch_sums(blocks + part, shape.bytes(), tables, part == 0 ? ahead : Ahead{}, sums);
      for (std::size_t q = 0; q < Q; ++q) {
        SketchPicks& to = picks[q];
        std::uint16_t in_order[16];
        const __m128i even = sums[q].even();
        store128(in_order, _mm_unpacklo_epi16(even, sums[q].odd));
        store128(in_order + 8, _mm_unpackhi_epi16(even, sums[q].odd));
        for (std::size_t r = 0; r < 16; r += 4) {
          const auto* const four_sums = reinterpret_cast<const __m128i*>(in_order + r);
          const __m128 sum = _mm_cvtepi32_ps(_mm_cvtepu16_epi32(_mm_loadl_epi64(four_sums)));
          const std::uint8_t* const factors = blocks + shape.factors_at() + 2 * (part + r);
          const __m128 upper = sketch_bounds<SketchVector>(sum, load_halves(factors),
                                                           load_halves(factors + 2 * kSketchRows), queries[q]);
          auto hits = static_cast<unsigned>(_mm_movemask_ps(_mm_cmpgt_ps(upper, _mm_set1_ps(to.least))));
          if (hits == 0) continue;
          float four[4];
          _mm_storeu_ps(four, upper);
          for (; hits != 0; hits &= hits - 1) {
            const std::uint32_t row = lowest_bit(hits);
            to.rows[to.count] = static_cast<std::uint32_t>(b * kSketchRows + part + r) + row;
            to.bounds[to.count++] = four[row];
          }
        }
      }
    }
  }
}

void sketch_select(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery* queries,
                   std::size_t n_queries, const Ahead& ahead, SketchPicks* picks) {
  in_blocks_of<2, 1>(n_queries, [&](std::size_t q, auto count) FRAZIL_INLINE {
    sketch_select_some<count>(blocks, n, shape, queries + q, q == 0 ? ahead : Ahead{}, picks + q);
  });
}

// ---------------------------------------------------------------- tiles: many queries

// Tiles are groups of 8 rows. In a group, for each plane of nibbles and each four bytes of it: 2 vectors of 4 rows x 4
// nibbles.
constexpr std::size_t kGroup = 8;

std::size_t tile_bytes(Width width, std::size_t rows, std::size_t row_bytes) {
  return rows / kGroup * tile_planes(width) * tile_steps(row_bytes) * 32;
}

template <Width W>
void load_tile(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
               std::uint8_t* tile) {
  const std::size_t steps = tile_steps(row_bytes), plane_bytes = steps * 32;
  for (std::size_t r = 0; r < (n + kGroup - 1) / kGroup * kGroup; r += 4) {
    std::uint8_t* const base = tile + r / kGroup * tile_planes(W) * plane_bytes + r % kGroup * 4;
    for (std::size_t j = 0; j < row_bytes; j += 16) {
      __m128i v[4];
      for (std::size_t i = 0; i < 4; ++i) {
        const std::uint8_t* const row = rows + static_cast<std::ptrdiff_t>(r + i) * stride;
        v[i] = r + i < n ? load_bytes(row + j, row_bytes - j) : _mm_setzero_si128();
      }
      const __m128i t[4] = {_mm_unpacklo_epi32(v[0], v[1]), _mm_unpacklo_epi32(v[2], v[3]),
                            _mm_unpackhi_epi32(v[0], v[1]), _mm_unpackhi_epi32(v[2], v[3])};
      const __m128i columns[4] = {_mm_unpacklo_epi64(t[0], t[1]), _mm_unpackhi_epi64(t[0], t[1]),
                                  _mm_unpacklo_epi64(t[2], t[3]), _mm_unpackhi_epi64(t[2], t[3])};
      const std::size_t here_steps = smaller(4, steps - j / 4);
      for (std::size_t c = 0; c < here_steps; ++c) {
        std::uint8_t* const to = base + (j / 4 + c) * 32;
        for_each_index<tile_planes(W)>([&](auto plane) FRAZIL_INLINE {
          const __m128i codes = plane % 2 == 0 ? high_nibbles(columns[c]) : low_nibbles(columns[c]);
          store128(to + plane * plane_bytes, W == kNormal4 ? look_up(kNormalNibbles.of[plane / 2], codes) : codes);
        });
      }
    }
  }
}

constexpr std::size_t kUnitSteps = 8;    // that ask for what comes next together
constexpr std::size_t kChunkSteps = 64;  // steps for which queries are spread out
constexpr std::size_t kQueryBlock = 6;   // 12 sums, 2 vectors of rows, a product: the register file holds 16

// Q queries against a group, over `steps` steps, after each `span` of which 16-bit sums are widened. spread: for each
// step the Q queries' four entries, four times each.
template <std::size_t Q, class UpcomingRows>
FRAZIL_INLINE inline void dot_group(const std::uint8_t* group, std::size_t steps, std::size_t span,
                                    const std::int8_t* spread, short factor, bool add, std::int32_t* dots,
                                    std::size_t dots_stride, UpcomingRows& upcoming) {
  for (std::size_t step = 0; step < steps; add = true) {
    __m128i sums16[Q * 2];
    for_each_index<Q * 2>([&](auto i) FRAZIL_INLINE { sums16[i] = _mm_setzero_si128(); });
    const std::size_t end = smaller(steps, step + span);
    while (step < end) {
      upcoming.ask();
      for (const std::size_t stop = smaller(end, step + kUnitSteps); step < stop;
           ++step, group += 32, spread += Q * 16) {
        const __m128i rows[2] = {load128(group), load128(group + 16)};
        for_each_index<Q * 2>([&](auto i) FRAZIL_INLINE {
          const __m128i four = _mm_load_si128(reinterpret_cast<const __m128i*>(spread + i / 2 * 16));
          sums16[i] = _mm_add_epi16(sums16[i], _mm_maddubs_epi16(rows[i % 2], four));
          FRAZIL_IN_PLACE(sums16[i]);
        });
      }
    }
    for_each_index<Q * 2>([&](auto i) FRAZIL_INLINE {
      std::int32_t* const to = dots + i / 2 * dots_stride + i % 2 * 4;
      const __m128i sum = _mm_madd_epi16(sums16[i], _mm_set1_epi16(factor));
      store128(to, add ? _mm_add_epi32(sum, load128(to)) : sum);
    });
  }
}

// Q queries against all groups of a tile.
template <Width W, std::size_t Q>
void dot_queries(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
                 std::size_t span, std::int32_t* dots, std::size_t dots_stride, const std::uint8_t* ahead) {
  Upcoming<kUnitSteps * kGroup * 4 / tile_planes(W)> upcoming(ahead, tile);
  const std::size_t steps = tile_steps(row_bytes), query_stride = planes(W) * plane_stride(row_bytes);
  const std::size_t group_bytes = tile_bytes(W, kGroup, row_bytes);
  for (std::size_t part = 0; part < tile_planes(W); ++part) {
    const std::int8_t* const plane = queries + part % planes(W) * plane_stride(row_bytes);
    const short factor = W != kInt4 && part < planes(W) ? 16 : 1;
    for (std::size_t first = 0; first < steps; first += kChunkSteps) {
      const std::size_t here = smaller(kChunkSteps, steps - first);
      alignas(16) std::int8_t spread[kChunkSteps * Q * 16];
      for (std::size_t step = 0; step < here; ++step) {
        for_each_index<Q>([&](auto q) FRAZIL_INLINE {
          const std::int32_t four = four_entries(plane + q * query_stride + 4 * (first + step));
          store128(spread + (step * Q + q) * 16, _mm_set1_epi32(four));
        });
      }
      const std::uint8_t* const from = tile + (part * steps + first) * 32;
      for (std::size_t r = 0; r < n; r += kGroup) {
        dot_group<Q>(from + r / kGroup * group_bytes, here, span / 4, spread, factor, part + first > 0, dots + r,
                     dots_stride, upcoming);
      }
    }
  }
}

template <Width W>
void dot_tile(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
              std::size_t n_queries, std::size_t span, std::int32_t* dots, std::size_t dots_stride, const std::int32_t*,
              bool* reached, const std::uint8_t* ahead) {
  for (std::size_t q = 0; q < n_queries; ++q) reached[q] = true;  // the sums never are in registers as a whole
  const std::size_t query_stride = planes(W) * plane_stride(row_bytes);
  using Dot = void(const std::uint8_t*, std::size_t, std::size_t, const std::int8_t*, std::size_t, std::int32_t*,
                   std::size_t, const std::uint8_t*);
  static constexpr Dot* kBySize[] = {nullptr,           dot_queries<W, 1>, dot_queries<W, 2>, dot_queries<W, 3>,
                                     dot_queries<W, 4>, dot_queries<W, 5>, dot_queries<W, 6>};
  for (std::size_t q = 0; q < n_queries; q += kQueryBlock) {
    kBySize[smaller(kQueryBlock, n_queries - q)](tile, n, row_bytes, queries + q * query_stride, span,
                                                 dots + q * dots_stride, dots_stride, q == 0 ? ahead : nullptr);
  }
}

// ---------------------------------------------------------------- the unit's own rate

std::uint64_t dot_peak(std::uint64_t rounds, const std::uint8_t* codes, const std::int8_t* query, std::int32_t* sums) {
  __m128i sum[8];
  for_each_index<8>([&](auto i) FRAZIL_INLINE { sum[i] = load128(sums + 4 * i); });
  const __m128i entries[2] = {load128(query), load128(query + 16)};
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for_each_index<8>([&](auto i) FRAZIL_INLINE {
      const __m128i bytes = load128(codes + (round + i / 2) % 8 * 16);
      sum[i] = _mm_add_epi16(sum[i], _mm_maddubs_epi16(bytes, entries[i % 2]));
    });
  }
  for_each_index<8>([&](auto i) FRAZIL_INLINE { store128(sums + 4 * i, sum[i]); });
  return rounds * 8 * 16;
}

constexpr TileKernels kTiles{kGroup,
                             8,
                             kUsualQueries,
                             true,
                             tile_bytes,
                             {load_tile<kInt4>, load_tile<kInt8>, load_tile<kNormal4>},
                             {dot_tile<kInt4>, dot_tile<kInt8>, dot_tile<kNormal4>}};

// ---------------------------------------------------------------- expand

void expand(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
            const std::uint8_t* levels, std::uint8_t* out) {
  const __m128i table = load128(levels);
  const auto expand_bytes = [&](__m128i bytes, std::uint8_t* to) FRAZIL_INLINE {
    const __m128i even = _mm_shuffle_epi8(table, high_nibbles(bytes)),
                  odd = _mm_shuffle_epi8(table, low_nibbles(bytes));
    store128(to, _mm_unpacklo_epi8(even, odd));
    store128(to + 16, _mm_unpackhi_epi8(even, odd));
  };
  expand_rows<16>(rows, stride, n, row_bytes, out, load128, load_bytes, expand_bytes);
}

}  // namespace

extern constinit const Kernels kernels_sse41{
    .name = "sse41",
    .pack_half = {pack<PackVector, kInt4, Half>, pack<PackVector, kInt8, Half>},
    .pack_bfloat16 = {pack<PackVector, kInt4, Bfloat16>, pack<PackVector, kInt8, Bfloat16>},
    .pack_single = {pack<PackVector, kInt4, float>, pack<PackVector, kInt8, float>},
    .pack_double = {pack<PackVector, kInt4, double>, pack<PackVector, kInt8, double>},
    .unpack = {unpack<kInt4>, unpack<kInt8>},
    .metric_rows = metric_rows<FloatVector>,
    .refine_row = refine_row<FloatVector>,
    .expand = expand,
    .dot_rows = {dot_rows<ProductVector, kInt4>, dot_rows<ProductVector, kInt8>, dot_rows<ProductVector, kNormal4>},
    .dot_picked = {dot_picked<ProductVector, kInt4>, dot_picked<ProductVector, kInt8>,
                   dot_picked<ProductVector, kNormal4>},
    .float_rows = {float_rows<kInt4>, float_rows<kInt8>},
    .select = select,
    .sketch_rows = {sketch_rows<kInt4>, sketch_rows<kInt8>},
    .sketch_select = sketch_select,
    .tiles = &kTiles,
    .dot_peak = dot_peak,
};

}  // namespace frazil
