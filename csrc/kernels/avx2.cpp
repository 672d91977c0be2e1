// AVX2 with FMA and F16C (Haswell, Zen and later). The integer work is vpmaddubsw (products16.h).
#include "../floats.h"
#include "expand_rows.h"
#include "pack_rows.h"
#include "products16.h"
#include "refine_rows.h"
#include "sketch_rows.h"
#include "sketches256.h"
#include "vectors256.h"

namespace frazil {
namespace {

// ---------------------------------------------------------------- floats, for packing and refining

struct FloatVector {
  static constexpr std::size_t kLanes = 8;
  static __m256 load(const float* at) { return _mm256_loadu_ps(at); }
  static void store(float* at, __m256 v) { _mm256_storeu_ps(at, v); }
  static __m256 all(float x) { return _mm256_set1_ps(x); }
  static __m256 add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
  static __m256 sub(__m256 a, __m256 b) { return _mm256_sub_ps(a, b); }
  static __m256 mul(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
  static __m256d load(const double* at) { return _mm256_loadu_pd(at); }
  static __m256d all(double x) { return _mm256_set1_pd(x); }
  static __m256d sub(__m256d a, __m256d b) { return _mm256_sub_pd(a, b); }
  static __m256d mul(__m256d a, __m256d b) { return _mm256_mul_pd(a, b); }
  static __m256i rounded(__m256 v) { return _mm256_cvtps_epi32(v); }
  static __m256i rounded(__m256d first, __m256d second) {
    return _mm256_set_m128i(_mm256_cvtpd_epi32(second), _mm256_cvtpd_epi32(first));
  }
  static __m256 magnitude(__m256 v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
  static __m256 where_negative(__m256 a, __m256 b, __m256 c) { return _mm256_blendv_ps(c, b, a); }
  static __m256i first_order() {
    return _mm256_sub_epi32(_mm256_set1_epi32(kRefineIndices - 1), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static __m256i next_order(__m256i order) { return _mm256_sub_epi32(order, _mm256_set1_epi32(kLanes)); }
  static __m256i key(__m256 v, __m256i order) {
    return _mm256_or_si256(_mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(-kRefineIndices)), order);
  }
  static __m256i larger(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }
  static std::int32_t largest(__m256i v) {
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
  }
};

// ---------------------------------------------------------------- pack

struct PackVector {
  using Floats = FloatVector;
  static constexpr std::size_t kBlock = 32;

  static __m128i load_bits(const void* x) { return _mm_loadu_si128(static_cast<const __m128i*>(x)); }
  static __m256 load_eight(const Half* x) { return _mm256_cvtph_ps(load_bits(x)); }
  static __m256 load_eight(const Bfloat16* x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_bits(x)), 16));
  }
  template <class T>
  static void widen(const T* x, float* to) {
    for (std::size_t i = 0; i < kSums; i += 8) _mm256_store_ps(to + i, load_eight(x + i));
  }

  // Adds the squares of 4 numbers, widened to double, to 4 of the 32 partial sums. On floats the product is exact and
  // the fused operation gives what the separate ones give; doubles are multiplied and added apart.
  static __m256d add_squares(__m256d sum, const float* x) {
    const __m256d v = _mm256_cvtps_pd(_mm_loadu_ps(x));
    return _mm256_fmadd_pd(v, v, sum);
  }
  static __m256d add_squares(__m256d sum, const double* x) {
    const __m256d v = _mm256_loadu_pd(x);
    return _mm256_add_pd(sum, _mm256_mul_pd(v, v));
  }

  template <class Each>
  FRAZIL_INLINE static double sum_of_squares(Each&& each) {
    __m256d p[8];
    for_each_index<8>([&](auto k) FRAZIL_INLINE { p[k] = _mm256_setzero_pd(); });
    const auto add = [&](const auto* at) FRAZIL_INLINE {
      for_each_index<8>([&](auto k) FRAZIL_INLINE { p[k] = add_squares(p[k], at + 4 * k); });
    };
    each(add, true);
    for_each_index<4>([&](auto k) FRAZIL_INLINE { p[k] = _mm256_add_pd(p[k], p[k + 4]); });
    const __m256d h4 = _mm256_add_pd(_mm256_add_pd(p[0], p[2]), _mm256_add_pd(p[1], p[3]));
    const __m128d h2 = _mm_add_pd(_mm256_castpd256_pd128(h4), _mm256_extractf128_pd(h4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(h2, _mm_unpackhi_pd(h2, h2)));
  }

  // Saturating to s8 is the clipping. Packing works within 128-bit lanes, what comes out must be put in order: each
  // lane has 4 values of each of the vectors packed.
  template <Width W, std::size_t N, class Value, class Steps>
  FRAZIL_INLINE static void pack_blocks(const Value* x, const Steps& steps, std::uint8_t* out) {
    __m256i codes[N];
    for_each_index<N>([&](auto i) FRAZIL_INLINE {
      const Value* const at = x + 32 * i;
      codes[i] = _mm256_packs_epi16(_mm256_packs_epi32(steps(at), steps(at + 8)),
                                    _mm256_packs_epi32(steps(at + 16), steps(at + 24)));
    });
    if constexpr (W == kInt4) {
      __m256i pairs[N];
      for_each_index<N>([&](auto i) FRAZIL_INLINE {
        codes[i] = _mm256_max_epi8(_mm256_min_epi8(codes[i], _mm256_set1_epi8(7)), _mm256_set1_epi8(-8));
        codes[i] = _mm256_add_epi8(codes[i], _mm256_set1_epi8(8));
        pairs[i] = _mm256_maddubs_epi16(codes[i], _mm256_set1_epi16(0x0110));  // 16 * even + odd
      });
      const __m256i bytes = _mm256_packus_epi16(pairs[0], pairs[N - 1]);
      const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_unpacklo_epi16(low, high));
      if constexpr (N == 2) _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16), _mm_unpackhi_epi16(low, high));
    } else {
      const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
      for_each_index<N>([&](auto i) FRAZIL_INLINE {
        const __m256i flipped = _mm256_xor_si256(codes[i], _mm256_set1_epi8(-128));  // -128 -> 0
        store256(out + 32 * i, _mm256_permutevar8x32_epi32(flipped, order));
      });
    }
  }
};

// ---------------------------------------------------------------- unpack

template <Width W>
void unpack(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t dim, float half_step,
            float* out) {
  constexpr int kLevels = W == kInt4 ? 15 : 255;
  const __m256 scale = _mm256_set1_ps(half_step);
  const auto decode = [&](__m128i codes, float* to) {  // the 8 low bytes
    const __m256i steps =
        _mm256_sub_epi32(_mm256_slli_epi32(_mm256_cvtepu8_epi32(codes), 1), _mm256_set1_epi32(kLevels));
    _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(steps), scale));
  };
  for (std::size_t r = 0; r < n; ++r, rows += stride, out += dim) {
    std::size_t i = 0;
    for (; i + 16 <= dim; i += 16) {
      __m128i codes;
      if constexpr (W == kInt4) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows + i / 2));
        const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
        codes = _mm_unpacklo_epi8(high, _mm_and_si128(bytes, _mm_set1_epi8(15)));
      } else {
        codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + i));
      }
      decode(codes, out + i);
      decode(_mm_unpackhi_epi64(codes, codes), out + i + 8);
    }
    for (; i < dim; ++i) {
      const int code = W == kInt4 ? (rows[i / 2] >> (i % 2 ? 0 : 4)) & 15 : rows[i];
      out[i] = static_cast<float>(2 * code - kLevels) * half_step;
    }
  }
}

// ---------------------------------------------------------------- queries against rows where they lie

__m256i widen_sums(__m256i sums16) { return _mm256_madd_epi16(sums16, _mm256_set1_epi16(1)); }

struct ProductVector : RowVector {
  template <Width W>
  static constexpr bool kInPairs = W != kNormal4;
  static __m256i load(const void* at) { return load256(at); }
  static __m256i load_bytes(const std::uint8_t* at, std::size_t n) { return frazil::load_bytes(at, n); }
  template <Width W>
  FRAZIL_INLINE static inline __m256i split(__m256i bytes, std::size_t plane) {
    return frazil::split<W>(bytes, plane);
  }
  static __m256i multiply(__m256i levels, __m256i entries) { return _mm256_maddubs_epi16(levels, entries); }
  static __m256i add16(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
  static __m256i add32(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
  static __m256i widen(__m256i sums16) { return widen_sums(sums16); }
  static __m256i times16(__m256i sums) { return _mm256_slli_epi32(sums, 4); }
};

template <Width W>
void float_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
                const float* query, float half_step, float* scores) {
  constexpr int kLevels = W == kInt4 ? 15 : 255;
  const auto multiply = [](__m128i codes, const float* q) {  // the 8 low bytes
    const __m256i steps =
        _mm256_sub_epi32(_mm256_slli_epi32(_mm256_cvtepu8_epi32(codes), 1), _mm256_set1_epi32(kLevels));
    return _mm256_mul_ps(_mm256_loadu_ps(q), _mm256_cvtepi32_ps(steps));
  };
  const float* const second = query + plane_stride(row_bytes);
  for (std::size_t r = 0; r < n; ++r, rows += stride) {
    __m256 p[4];  // 32 partial sums
    for (auto& sum : p) sum = _mm256_setzero_ps();
    for (std::size_t j = 0; j < row_bytes; j += 32) {
      const __m256i bytes = load_bytes(rows + j, row_bytes - j);
      const __m128i halves[2] = {_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)};
      for (std::size_t h = 0; h < 2; ++h) {
        const std::size_t i = j + 16 * h;
        if constexpr (W == kInt4) {
          const __m128i high = _mm_and_si128(_mm_srli_epi16(halves[h], 4), _mm_set1_epi8(15));
          const __m128i low = _mm_and_si128(halves[h], _mm_set1_epi8(15));
          p[0] = _mm256_add_ps(p[0], multiply(high, query + i));
          p[1] = _mm256_add_ps(p[1], multiply(_mm_unpackhi_epi64(high, high), query + i + 8));
          p[2] = _mm256_add_ps(p[2], multiply(low, second + i));
          p[3] = _mm256_add_ps(p[3], multiply(_mm_unpackhi_epi64(low, low), second + i + 8));
        } else {
          p[2 * h] = _mm256_add_ps(p[2 * h], multiply(halves[h], query + i));
          p[2 * h + 1] = _mm256_add_ps(p[2 * h + 1], multiply(_mm_unpackhi_epi64(halves[h], halves[h]), query + i + 8));
        }
      }
    }
    const __m256 h8 = _mm256_add_ps(_mm256_add_ps(p[0], p[2]), _mm256_add_ps(p[1], p[3]));
    const __m128 h4 = _mm_add_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
    const __m128 h2 = _mm_add_ps(h4, _mm_movehl_ps(h4, h4));
    scores[r] = _mm_cvtss_f32(_mm_add_ss(h2, _mm_movehdup_ps(h2))) * half_step + 0.0f;  // a zero is +0
  }
}

std::size_t select(const std::int32_t* dots, std::size_t n, std::int32_t threshold, std::uint32_t* picked) {
  const __m256i least = _mm256_set1_epi32(threshold);
  std::size_t count = 0, i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256i below = _mm256_cmpgt_epi32(least, load256(dots + i));
    auto hits = static_cast<unsigned>(~_mm256_movemask_ps(_mm256_castsi256_ps(below))) & 0xff;
    for (; hits != 0; hits &= hits - 1) {
      picked[count++] = static_cast<std::uint32_t>(i) + lowest_bit(hits);
    }
  }
  for (; i < n; ++i) {
    if (dots[i] >= threshold) picked[count++] = static_cast<std::uint32_t>(i);
  }
  return count;
}

// ---------------------------------------------------------------- tiles: many queries

std::size_t tile_bytes(Width width, std::size_t rows, std::size_t row_bytes) {
  return rows / kGroup * tile_planes(width) * tile_steps(row_bytes) * 64;
}

template <Width W>
void load_tile(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
               std::uint8_t* tile) {
  load_planes<tile_planes(W)>(rows, stride, n, row_bytes, tile, [&](__m256i bytes, auto plane) FRAZIL_INLINE {
    const __m256i codes = plane % 2 == 0 ? high_nibbles(bytes) : low_nibbles(bytes);
    return W == kNormal4 ? look_up(kNormalNibbles.of[plane / 2], codes) : codes;
  });
}

constexpr std::size_t kUnitSteps = 8;   // that ask for what comes next together
constexpr std::size_t kQueryBlock = 6;  // 12 sums, 2 vectors of rows, a query and a product: the register file holds 16

// sum += product, in the same register: GCC 12 adds in the product's and copies it back.
FRAZIL_INLINE inline void add_in_place(__m256i& sum, __m256i product) {
#if defined(__GNUC__)
  __asm__("vpaddw %1, %0, %0" : "+x"(sum) : "x"(product));
#else
  sum = _mm256_add_epi16(sum, product);
#endif
}

// Q queries against a group of 16 rows, over `steps` steps, after each `span` of which 16-bit sums are widened; added
// to the dots unless these are `fresh`. The last dots are compared with `least`, if that is not null.
template <std::size_t Q, int Shift, class UpcomingRows>
FRAZIL_INLINE inline void dot_steps(const std::uint8_t* group, const std::int8_t* plane, std::size_t query_stride,
                                    std::size_t steps, std::size_t span, bool fresh, std::int32_t* dots,
                                    std::size_t dots_stride, const std::int32_t* least, bool* reached,
                                    UpcomingRows& upcoming) {
  for (std::size_t step = 0; step < steps; fresh = false) {
    __m256i sums16[Q * 2];
    for_each_index<Q * 2>([&](auto i) FRAZIL_INLINE { sums16[i] = _mm256_setzero_si256(); });
    const std::size_t end = smaller(steps, step + span);
    while (step < end) {
      upcoming.ask();
      for (const std::size_t stop = smaller(end, step + kUnitSteps); step < stop; ++step, group += 64, plane += 4) {
        const __m256i rows[2] = {load256(group), load256(group + 32)};
        for_each_index<Q>([&](auto q) FRAZIL_INLINE {
          const __m256i four = _mm256_set1_epi32(four_entries(plane + q * query_stride));
          add_in_place(sums16[2 * q], _mm256_maddubs_epi16(rows[0], four));
          add_in_place(sums16[2 * q + 1], _mm256_maddubs_epi16(rows[1], four));
        });
      }
    }
    const bool compare = least != nullptr && step == steps;
    for_each_index<Q>([&](auto q) FRAZIL_INLINE {
      std::int32_t* const to = dots + q * dots_stride;
      __m256i sums[2] = {_mm256_slli_epi32(widen_sums(sums16[2 * q]), Shift),
                         _mm256_slli_epi32(widen_sums(sums16[2 * q + 1]), Shift)};
      if (!fresh) {
        sums[0] = _mm256_add_epi32(sums[0], load256(to));
        sums[1] = _mm256_add_epi32(sums[1], load256(to + 8));
      }
      store256(to, sums[0]);
      store256(to + 8, sums[1]);
      if (!compare) return;
      const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(least[q]), _mm256_max_epi32(sums[0], sums[1]));
      if (_mm256_movemask_epi8(below) != -1) reached[q] = true;
    });
  }
}

// Q queries against all groups of a tile.
template <Width W, std::size_t Q>
void dot_queries(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
                 std::size_t span, std::int32_t* dots, std::size_t dots_stride, const std::int32_t* least,
                 bool* reached, const std::uint8_t* ahead) {
  Upcoming<kUnitSteps * kGroup * 4 / tile_planes(W)> upcoming(ahead, tile);
  const std::size_t second = plane_stride(row_bytes), query_stride = planes(W) * second;
  const bool joined = second == 4 * tile_steps(row_bytes);  // a plane of the queries begins where the one before ends
  const std::size_t parts = joined ? 1 : planes(W), steps = tile_steps(row_bytes) * planes(W) / parts;
  for (std::size_t q = 0; q < Q; ++q) reached[q] = false;
  for (std::size_t r = 0; r < n; r += kGroup, dots += kGroup) {
    for_each_index<nibbles(W)>([&](auto nibble) FRAZIL_INLINE {
      constexpr bool kLast = nibble + 1 == nibbles(W);
      for (std::size_t p = 0; p < parts; ++p, tile += steps * 64) {
        dot_steps<Q, kLast ? 0 : 4>(tile, queries + p * second, query_stride, steps, span / 4, nibble + p == 0, dots,
                                    dots_stride, kLast && p + 1 == parts ? least : nullptr, reached, upcoming);
      }
    });
  }
}

template <Width W>
void dot_tile(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
              std::size_t n_queries, std::size_t span, std::int32_t* dots, std::size_t dots_stride,
              const std::int32_t* least, bool* reached, const std::uint8_t* ahead) {
  const std::size_t query_stride = planes(W) * plane_stride(row_bytes);
  using Dot = void(const std::uint8_t*, std::size_t, std::size_t, const std::int8_t*, std::size_t, std::int32_t*,
                   std::size_t, const std::int32_t*, bool*, const std::uint8_t*);
  static constexpr Dot* kBySize[] = {nullptr,           dot_queries<W, 1>, dot_queries<W, 2>, dot_queries<W, 3>,
                                     dot_queries<W, 4>, dot_queries<W, 5>, dot_queries<W, 6>};
  for (std::size_t q = 0; q < n_queries; q += kQueryBlock) {
    kBySize[smaller(kQueryBlock, n_queries - q)](tile, n, row_bytes, queries + q * query_stride, span,
                                                 dots + q * dots_stride, dots_stride, least + q, reached + q,
                                                 q == 0 ? ahead : nullptr);
  }
}

// ---------------------------------------------------------------- the unit's own rate

// As a tile is multiplied, with nothing to widen: 24 instructions of the vector units a round, and one so that no
// product is like another and the compiler cannot multiply once.
std::uint64_t dot_peak(std::uint64_t rounds, const std::uint8_t* codes, const std::int8_t* query, std::int32_t* sums) {
  __m256i sum[12];
  for_each_index<12>([&](auto i) FRAZIL_INLINE { sum[i] = load256(sums + 8 * i); });
  __m256i bytes[2] = {load256(codes), load256(codes + 32)};
  const __m256i change = load256(codes + 64);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for_each_index<6>([&](auto q) FRAZIL_INLINE {
      const __m256i entries = load256(query + 32 * q);
      for_each_index<2>([&](auto h)
                            FRAZIL_INLINE { add_in_place(sum[2 * q + h], _mm256_maddubs_epi16(bytes[h], entries)); });
    });
    const __m256i first = bytes[0];
    bytes[0] = bytes[1];
    bytes[1] = _mm256_xor_si256(first, change);
  }
  for_each_index<12>([&](auto i) FRAZIL_INLINE { store256(sums + 8 * i, sum[i]); });
  return rounds * 12 * 32;
}

constexpr TileKernels kTiles{kGroup,
                             4,
                             kUsualQueries,
                             true,
                             tile_bytes,
                             {load_tile<kInt4>, load_tile<kInt8>, load_tile<kNormal4>},
                             {dot_tile<kInt4>, dot_tile<kInt8>, dot_tile<kNormal4>}};

// ---------------------------------------------------------------- expand

void expand(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
            const std::uint8_t* levels, std::uint8_t* out) {
  const auto expand_bytes = [&](__m256i bytes, std::uint8_t* to) FRAZIL_INLINE {
    const __m256i even = look_up(levels, high_nibbles(bytes));
    const __m256i odd = look_up(levels, low_nibbles(bytes));
    const __m256i low = _mm256_unpacklo_epi8(even, odd), high = _mm256_unpackhi_epi8(even, odd);
    store256(to, _mm256_permute2x128_si256(low, high, 0x20));
    store256(to + 32, _mm256_permute2x128_si256(low, high, 0x31));
  };
  expand_rows<32>(rows, stride, n, row_bytes, out, load256, load_bytes, expand_bytes);
}

}  // namespace

extern constinit const Kernels kernels_avx2{
    .name = "avx2",
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
