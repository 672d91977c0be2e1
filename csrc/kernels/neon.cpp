// NEON, which every 64-bit Arm has. The integer work is SMLAL: eight s8 x s8 products added to 16-bit lanes, which hold
// 16 products of codes of 4 bits (at most 15 * 127 each), 32 if 8 is taken from each code, and two of codes of 8 bits
// less 128; then pairs of lanes are added to 32-bit lanes.
#include <bit>

#include "../floats.h"
#include "expand_rows.h"
#include "pack_rows.h"
#include "refine_rows.h"
#include "sketch_rows.h"
#include "vectors_neon.h"

namespace frazil {
namespace {

template <Width W>
constexpr int kLevels = W == kInt4 ? 15 : 255;

// ---------------------------------------------------------------- floats, for packing and refining

struct FloatVector {
  static constexpr std::size_t kLanes = 4;
  static float32x4_t load(const float* at) { return vreinterpretq_f32_u8(load128(at)); }
  static void store(float* at, float32x4_t v) { vst1q_f32(at, v); }
  static float32x4_t all(float x) { return vdupq_n_f32(x); }
  static float32x4_t add(float32x4_t a, float32x4_t b) { return vaddq_f32(a, b); }
  static float32x4_t sub(float32x4_t a, float32x4_t b) { return vsubq_f32(a, b); }
  static float32x4_t mul(float32x4_t a, float32x4_t b) { return vmulq_f32(a, b); }
  static float64x2_t load(const double* at) { return vreinterpretq_f64_u8(load128(at)); }
  static float64x2_t all(double x) { return vdupq_n_f64(x); }
  static float64x2_t sub(float64x2_t a, float64x2_t b) { return vsubq_f64(a, b); }
  static float64x2_t mul(float64x2_t a, float64x2_t b) { return vmulq_f64(a, b); }
  static int32x4_t rounded(float32x4_t v) { return vcvtnq_s32_f32(v); }
  static int32x4_t rounded(float64x2_t first, float64x2_t second) {
    return vqmovn_high_s64(vqmovn_s64(vcvtnq_s64_f64(first)), vcvtnq_s64_f64(second));
  }
  static float32x4_t magnitude(float32x4_t v) { return vabsq_f32(v); }
  static float32x4_t where_negative(float32x4_t a, float32x4_t b, float32x4_t c) {
    return vbslq_f32(vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_f32(a), 31)), b, c);
  }
  static int32x4_t first_order() {
    constexpr std::int32_t kLane[] = {0, 1, 2, 3};
    return vsubq_s32(vdupq_n_s32(kRefineIndices - 1), vld1q_s32(kLane));
  }
  static int32x4_t next_order(int32x4_t order) { return vsubq_s32(order, vdupq_n_s32(kLanes)); }
  static int32x4_t key(float32x4_t v, int32x4_t order) {
    return vorrq_s32(vandq_s32(vreinterpretq_s32_f32(v), vdupq_n_s32(-kRefineIndices)), order);
  }
  static int32x4_t larger(int32x4_t a, int32x4_t b) { return vmaxq_s32(a, b); }
  static std::int32_t largest(int32x4_t v) { return vmaxvq_s32(v); }
};

// ---------------------------------------------------------------- pack

// Four numbers as floats.
float32x4_t load_four(const Half* x) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(reinterpret_cast<const std::uint8_t*>(x))));
}
float32x4_t load_four(const Bfloat16* x) {
  const uint16x4_t bits = vreinterpret_u16_u8(vld1_u8(reinterpret_cast<const std::uint8_t*>(x)));
  return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(bits), 16));
}

struct PackVector {
  using Floats = FloatVector;
  static constexpr std::size_t kBlock = 16;

  template <class T>
  static void widen(const T* x, float* to) {
    for (std::size_t i = 0; i < kSums; i += 4) vst1q_f32(to + i, load_four(x + i));
  }

  // Adds the squares of 4 numbers, widened to double, to 4 of the 32 partial sums. On floats the product is exact and
  // the fused operation gives what the separate ones give; doubles are multiplied and added apart.
  FRAZIL_INLINE static void add_squares(float64x2_t& low, float64x2_t& high, const float* x) {
    const float32x4_t v = FloatVector::load(x);
    const float64x2_t v_low = vcvt_f64_f32(vget_low_f32(v)), v_high = vcvt_high_f64_f32(v);
    low = vfmaq_f64(low, v_low, v_low);
    high = vfmaq_f64(high, v_high, v_high);
  }
  FRAZIL_INLINE static void add_squares(float64x2_t& low, float64x2_t& high, const double* x) {
    const float64x2_t v_low = FloatVector::load(x), v_high = FloatVector::load(x + 2);
    low = vaddq_f64(low, vmulq_f64(v_low, v_low));
    high = vaddq_f64(high, vmulq_f64(v_high, v_high));
  }

  template <class Each>
  FRAZIL_INLINE static double sum_of_squares(Each&& each) {
    float64x2_t p[16];
    for_each_index<16>([&](auto k) FRAZIL_INLINE { p[k] = vdupq_n_f64(0); });
    const auto add = [&](const auto* at) FRAZIL_INLINE {
      for_each_index<8>([&](auto k) FRAZIL_INLINE { add_squares(p[2 * k], p[2 * k + 1], at + 4 * k); });
    };
    each(add, true);
    for_each_index<8>([&](auto k) FRAZIL_INLINE { p[k] = vaddq_f64(p[k], p[k + 8]); });
    for_each_index<4>([&](auto k) FRAZIL_INLINE { p[k] = vaddq_f64(p[k], p[k + 4]); });
    return vaddvq_f64(vaddq_f64(vaddq_f64(p[0], p[2]), vaddq_f64(p[1], p[3])));
  }

  // Saturating is the clipping.
  template <Width W, std::size_t N, class Value, class Steps>
  FRAZIL_INLINE static void pack_blocks(const Value* x, const Steps& steps, std::uint8_t* out) {
    int8x16_t codes[N];
    for_each_index<N>([&](auto i) FRAZIL_INLINE {
      const Value* const at = x + 16 * i;
      const int16x8_t low = vqmovn_high_s32(vqmovn_s32(steps(at)), steps(at + 4));
      const int16x8_t high = vqmovn_high_s32(vqmovn_s32(steps(at + 8)), steps(at + 12));
      codes[i] = vqmovn_high_s16(vqmovn_s16(low), high);
    });
    if constexpr (W == kInt4) {
      uint8x16_t
          pairs[N];  // in the lower byte of two: the even code, which is -8 … 7 in its high half, then the odd one
      for_each_index<N>([&](auto i) FRAZIL_INLINE {
        const uint16x8_t two = vreinterpretq_u16_s8(vqshlq_n_s8(codes[i], 4));
        pairs[i] = vreinterpretq_u8_u16(vsriq_n_u16(two, two, 12));
      });
      const uint8x16_t bytes = veorq_u8(vuzp1q_u8(pairs[0], pairs[N - 1]), vdupq_n_u8(0x88));  // -8 -> 0
      if constexpr (N == 2) {
        vst1q_u8(out, bytes);
      } else {
        vst1_u8(out, vget_low_u8(bytes));
      }
    } else {
      for_each_index<N>([&](auto i) FRAZIL_INLINE {
        vst1q_u8(out + 16 * i, veorq_u8(vreinterpretq_u8_s8(codes[i]), vdupq_n_u8(0x80)));  // -128 -> 0
      });
    }
  }
};

// ---------------------------------------------------------------- codes as floats

// The two upper bytes of 2 * code - 15 as a float, for each code of 4 bits; the lower ones are 0.
struct UpperBytes {
  std::uint8_t first[16], second[16];
  constexpr UpperBytes() : first(), second() {
    for (int code = 0; code < 16; ++code) {
      const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(2 * code - 15));
      first[code] = static_cast<std::uint8_t>(bits >> 24);
      second[code] = static_cast<std::uint8_t>(bits >> 16);
    }
  }
};
constexpr UpperBytes kUpperBytes;

// 2 * code - levels of 16 codes, in order.
template <Width W>
FRAZIL_INLINE inline void decode(uint8x16_t codes, float32x4_t (&to)[4]) {
  if constexpr (W == kInt4) {
    const uint8x16_t first = vqtbl1q_u8(load128(kUpperBytes.first), codes);
    const uint8x16_t second = vqtbl1q_u8(load128(kUpperBytes.second), codes);
    const uint16x8_t zero = vdupq_n_u16(0), low = vreinterpretq_u16_u8(vzip1q_u8(second, first)),
                     high = vreinterpretq_u16_u8(vzip2q_u8(second, first));
    to[0] = vreinterpretq_f32_u16(vzip1q_u16(zero, low));
    to[1] = vreinterpretq_f32_u16(vzip2q_u16(zero, low));
    to[2] = vreinterpretq_f32_u16(vzip1q_u16(zero, high));
    to[3] = vreinterpretq_f32_u16(vzip2q_u16(zero, high));
  } else {
    const uint8x16_t others = vmvnq_u8(codes);  // levels - code
    const int16x8_t low = vreinterpretq_s16_u16(vsubl_u8(vget_low_u8(codes), vget_low_u8(others)));
    const int16x8_t high = vreinterpretq_s16_u16(vsubl_high_u8(codes, others));
    to[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
    to[1] = vcvtq_f32_s32(vmovl_high_s16(low));
    to[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
    to[3] = vcvtq_f32_s32(vmovl_high_s16(high));
  }
}

template <Width W>
void unpack(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t dim, float half_step,
            float* out) {
  const auto store_sixteen = [&](uint8x16_t codes, float* to) FRAZIL_INLINE {
    float32x4_t steps[4];
    decode<W>(codes, steps);
    for_each_index<4>([&](auto k) FRAZIL_INLINE { vst1q_f32(to + 4 * k, vmulq_n_f32(steps[k], half_step)); });
  };
  for (std::size_t r = 0; r < n; ++r, rows += stride, out += dim) {
    std::size_t i = 0;
    for (; i + 32 <= dim; i += 32) {
      if constexpr (W == kInt4) {
        const uint8x16_t bytes = load128(rows + i / 2), high = high_nibbles(bytes), low = low_nibbles(bytes);
        store_sixteen(vzip1q_u8(high, low), out + i);
        store_sixteen(vzip2q_u8(high, low), out + i + 16);
      } else {
        store_sixteen(load128(rows + i), out + i);
        store_sixteen(load128(rows + i + 16), out + i + 16);
      }
    }
    for (; i < dim; ++i) out[i] = static_cast<float>(2 * code_at<W>(rows, i) - kLevels<W>) * half_step;
  }
}

template <Width W>
void float_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
                const float* query, float half_step, float* scores) {
  const float* const second = query + plane_stride(row_bytes);
  for (std::size_t r = 0; r < n; ++r, rows += stride) {
    float32x4_t p[8];  // 32 partial sums
    for_each_index<8>([&](auto k) FRAZIL_INLINE { p[k] = vdupq_n_f32(0); });
    const auto add = [&](auto first, uint8x16_t codes, const float* q) FRAZIL_INLINE {
      float32x4_t steps[4];
      decode<W>(codes, steps);
      for_each_index<4>([&](auto k) FRAZIL_INLINE {
        p[first + k] = vaddq_f32(p[first + k], vmulq_f32(FloatVector::load(q + 4 * k), steps[k]));
      });
    };
    constexpr std::integral_constant<std::size_t, 0> kLow;
    constexpr std::integral_constant<std::size_t, 4> kHigh;
    const auto chunk = [&](auto half, uint8x16_t bytes, std::size_t j) FRAZIL_INLINE {
      if constexpr (W == kInt4) {
        add(kLow, high_nibbles(bytes), query + j);
        add(kHigh, low_nibbles(bytes), second + j);
      } else {
        add(half, bytes, query + j);
      }
    };
    std::size_t j = 0;
    for (; j + 32 <= row_bytes; j += 32) {
      chunk(kLow, load128(rows + j), j);
      chunk(kHigh, load128(rows + j + 16), j + 16);
    }
    if (j < row_bytes) chunk(kLow, load_bytes(rows + j, row_bytes - j), j);
    if (j + 16 < row_bytes) chunk(kHigh, load_bytes(rows + j + 16, row_bytes - j - 16), j + 16);
    for_each_index<4>([&](auto k) FRAZIL_INLINE { p[k] = vaddq_f32(p[k], p[k + 4]); });
    const float32x4_t h4 = vaddq_f32(vaddq_f32(p[0], p[2]), vaddq_f32(p[1], p[3]));
    const float32x2_t h2 = vadd_f32(vget_low_f32(h4), vget_high_f32(h4));
    scores[r] = vpadds_f32(h2) * half_step + 0.0f;  // a zero is +0
  }
}

// ---------------------------------------------------------------- one query against rows where they lie

// Eight products in each of two halves of 16 codes and entries, added to 16-bit lanes.
FRAZIL_INLINE inline int16x8_t multiply(int8x16_t codes, int8x16_t entries) {
  return vmlal_high_s8(vmull_s8(vget_low_s8(codes), vget_low_s8(entries)), codes, entries);
}
FRAZIL_INLINE inline int16x8_t multiply_add(int16x8_t sum, int8x16_t codes, int8x16_t entries) {
  return vmlal_high_s8(vmlal_s8(sum, vget_low_s8(codes), vget_low_s8(entries)), codes, entries);
}

struct Unit {
  static constexpr std::size_t kChunks = 4;
  static constexpr int bias(Width width) { return width == kInt4 ? 0 : 128; }

  template <Width W, std::size_t Chunks>
  FRAZIL_INLINE static inline int32x4_t add(int32x4_t sum, const uint8x16_t* bytes, const int8x16_t* query0,
                                            const int8x16_t* query1) {
    static_assert(Chunks <= 4);  // 16 products of 4 bits
    if constexpr (W == kInt4) {
      int16x8_t part = multiply(vreinterpretq_s8_u8(high_nibbles(bytes[0])), query0[0]);
      part = multiply_add(part, vreinterpretq_s8_u8(low_nibbles(bytes[0])), query1[0]);
      for_each_index<Chunks - 1>([&](auto k) FRAZIL_INLINE {
        part = multiply_add(part, vreinterpretq_s8_u8(high_nibbles(bytes[k + 1])), query0[k + 1]);
        part = multiply_add(part, vreinterpretq_s8_u8(low_nibbles(bytes[k + 1])), query1[k + 1]);
      });
      sum = vpadalq_s16(sum, part);
    } else {
      for_each_index<Chunks>([&](auto k) FRAZIL_INLINE {
        sum = vpadalq_s16(sum, multiply(signed_codes<bias(W)>(split<W>(bytes[k], 0)), query0[k]));
        if constexpr (W != kInt8) {
          sum = vpadalq_s16(sum, multiply(signed_codes<bias(W)>(split<W>(bytes[k], 1)), query1[k]));
        }
      });
    }
    return sum;
  }
};

// Sixteen dots at a time, most of which have none to pick.
std::size_t select(const std::int32_t* dots, std::size_t n, std::int32_t threshold, std::uint32_t* picked) {
  const int32x4_t least = vdupq_n_s32(threshold);
  std::size_t count = 0, i = 0;
  const auto pick = [&](std::size_t end) FRAZIL_INLINE {
    for (; i < end; ++i) {
      picked[count] = static_cast<std::uint32_t>(i);
      count += dots[i] >= threshold;
    }
  };
  for (; i + 16 <= n;) {
    const int32x4_t most = vmaxq_s32(vmaxq_s32(vld1q_s32(dots + i), vld1q_s32(dots + i + 4)),
                                     vmaxq_s32(vld1q_s32(dots + i + 8), vld1q_s32(dots + i + 12)));
    const uint32x4_t reached = vcgeq_s32(most, least);
    if (vget_lane_u64(vreinterpret_u64_u16(vmovn_u32(reached)), 0) != 0) {
      pick(i + 16);
    } else {
      i += 16;
    }
  }
  pick(n);
  return count;
}

// ---------------------------------------------------------------- sketches

// The bounds of 4 rows, from their sums of entries, factors and errors.
float32x4_t sketch_bounds(uint16x4_t sums, float32x4_t factor, float32x4_t error, const SketchQuery& query) {
  const float32x4_t sum = vcvtq_f32_u32(vmovl_u16(sums));
  const float32x4_t line = vaddq_f32(vmulq_n_f32(sum, query.slope), vdupq_n_f32(query.offset));
  const float32x4_t width = vaddq_f32(vmulq_n_f32(error, query.width), vdupq_n_f32(query.base));
  const float32x4_t estimate = vmulq_f32(vmaxq_f32(line, vmulq_n_f32(line, query.below)), factor);
  return vaddq_f32(estimate, width);
}

// The sums of entries of a block's 64 rows for Q queries, which share what it takes to bring the bits in place: those
// of rows 8h … 8h + 7 at h.
template <std::size_t Q>
FRAZIL_INLINE inline void sketch_sums(const std::uint8_t* at, std::size_t bytes, const SketchQuery* queries,
                                      const Ahead& ahead, uint16x8_t (&sums)[Q][8]) {
  for_each_index<Q * 8>([&](auto i) FRAZIL_INLINE { sums[i / 8][i % 8] = vdupq_n_u16(0); });
  for (std::size_t j = 0; j < bytes; j += 4) {
    uint8x16_t eight[Q][4];  // entries, at most 8 * 31: they fit into bytes
    for_each_index<4>([&](auto t) FRAZIL_INLINE {
      ask(ahead, at + t * kSketchRows, 1);
      uint8x16_t low[Q], high[Q];  // tables
      for_each_index<Q>([&](auto q) FRAZIL_INLINE {
        const std::uint8_t* const tables = queries[q].tables + 2 * (j + t) * kTableEntries;
        low[q] = load128(tables);
        high[q] = load128(tables + kTableEntries);
      });
      for_each_index<4>([&](auto v) FRAZIL_INLINE {
        const uint8x16_t codes = load128(at + t * kSketchRows + 16 * v);
        const uint8x16_t low_codes = low_nibbles(codes), high_codes = high_nibbles(codes);
        for_each_index<Q>([&](auto q) FRAZIL_INLINE {
          const uint8x16_t two = vaddq_u8(vqtbl1q_u8(low[q], low_codes), vqtbl1q_u8(high[q], high_codes));
          if constexpr (t == 0) {
            eight[q][v] = two;
          } else {
            eight[q][v] = vaddq_u8(eight[q][v], two);
          }
          FRAZIL_IN_PLACE(eight[q][v]);
        });
      });
    });
    at += 4 * kSketchRows;
    for_each_index<Q * 4>([&](auto i) FRAZIL_INLINE {
      constexpr std::size_t kQ = i / 4, kV = i % 4;
      sums[kQ][2 * kV] = vaddw_u8(sums[kQ][2 * kV], vget_low_u8(eight[kQ][kV]));
      sums[kQ][2 * kV + 1] = vaddw_high_u8(sums[kQ][2 * kV + 1], eight[kQ][kV]);
      FRAZIL_IN_PLACE(sums[kQ][2 * kV]);
      FRAZIL_IN_PLACE(sums[kQ][2 * kV + 1]);
    });
  }
}

// Picks rows of one block, which are numbered from `first`.
FRAZIL_INLINE inline void sketch_pick(const uint16x8_t (&sums)[8], const std::uint8_t* factors,
                                      const SketchQuery& query, std::size_t first, SketchPicks& picks) {
  const float32x4_t least = vdupq_n_f32(picks.least);
  const auto halves = [](const std::uint8_t* at) FRAZIL_INLINE { return vreinterpretq_f16_u8(load128(at)); };
  for_each_index<8>([&](auto h) FRAZIL_INLINE {
    const float16x8_t factor = halves(factors + 16 * h), error = halves(factors + 2 * kSketchRows + 16 * h);
    const float32x4_t upper[2] = {
        sketch_bounds(vget_low_u16(sums[h]), vcvt_f32_f16(vget_low_f16(factor)), vcvt_f32_f16(vget_low_f16(error)),
                      query),
        sketch_bounds(vget_high_u16(sums[h]), vcvt_high_f32_f16(factor), vcvt_high_f32_f16(error), query)};
    const uint32x4_t above[2] = {vcgtq_f32(upper[0], least), vcgtq_f32(upper[1], least)};
    const uint16x8_t hits = vuzp1q_u16(vreinterpretq_u16_u32(above[0]), vreinterpretq_u16_u32(above[1]));
    if (vget_lane_u64(vreinterpret_u64_u8(vmovn_u16(hits)), 0) != 0) {
      float bounds[8];
      vst1q_f32(bounds, upper[0]);
      vst1q_f32(bounds + 4, upper[1]);
      for (std::size_t i = 0; i < 8; ++i) {
        if (!(bounds[i] > picks.least)) continue;
        picks.rows[picks.count] = static_cast<std::uint32_t>(first + 8 * h + i);
        picks.bounds[picks.count++] = bounds[i];
      }
    }
  });
}

template <std::size_t Q>
void sketch_select_some(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery* queries,
                        const Ahead& ahead, SketchPicks* picks) {
  for (std::size_t q = 0; q < Q; ++q) picks[q].count = 0;
  for (std::size_t b = 0; b < n; ++b, blocks += shape.block_bytes()) {
    uint16x8_t sums[Q][8];
    sketch_sums<Q>(blocks, shape.bytes(), queries, ahead, sums);
    for_each_index<Q>([&](auto q) FRAZIL_INLINE {
      sketch_pick(sums[q], blocks + shape.factors_at(), queries[q], b * kSketchRows, picks[q]);
    });
  }
}

void sketch_select(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery* queries,
                   std::size_t n_queries, const Ahead& ahead, SketchPicks* picks) {
  std::size_t q = 0;
  for (; q + 2 <= n_queries; q += 2) {
    sketch_select_some<2>(blocks, n, shape, queries + q, q == 0 ? ahead : Ahead{}, picks + q);
  }
  if (q < n_queries) sketch_select_some<1>(blocks, n, shape, queries + q, q == 0 ? ahead : Ahead{}, picks + q);
}

// ---------------------------------------------------------------- tiles: many queries

// Rows as they are, widened: what many queries save is the splitting of bytes.
constexpr std::size_t kGroup = 4;
constexpr std::size_t kQueryBlock = 4;  // 16 sums, 4 vectors of rows, one of queries, a product

constexpr int tile_bias(Width width) { return width == kInt4 ? 8 : 128; }

// Vectors of 16 bytes of rows whose products fit into 16 bits: 32 products of 4 bits in each lane.
constexpr std::size_t kSection = 8;

// Adds Q queries' products with a group of 4 rows, `chunks` times 16 bytes of each, to sums[4 * query + row].
template <Width W, std::size_t Q>
FRAZIL_INLINE inline void add_products(const std::uint8_t* group, std::size_t chunks, const std::int8_t* queries,
                                       std::size_t plane, std::size_t query_stride, Upcoming<16 * kGroup>& upcoming,
                                       int32x4_t (&sums)[4 * Q]) {
  if constexpr (W == kInt4) {
    int16x8_t parts[4 * Q];
    for_each_index<4 * Q>([&](auto i) FRAZIL_INLINE { parts[i] = vdupq_n_s16(0); });
    for (std::size_t c = 0; c < chunks; ++c, queries += 16) {
      upcoming.ask();
      for_each_index<2>([&](auto nibble) FRAZIL_INLINE {
        int8x16_t rows[4];
        for_each_index<4>([&](auto r) FRAZIL_INLINE { rows[r] = vreinterpretq_s8_u8(load128(group + 16 * r)); });
        group += 64;
        for_each_index<Q>([&](auto q) FRAZIL_INLINE {
          const int8x16_t entries = load_entries(queries + nibble * plane + q * query_stride);
          for_each_index<4>([&](auto r) FRAZIL_INLINE {
            parts[4 * q + r] = multiply_add(parts[4 * q + r], rows[r], entries);
            FRAZIL_IN_PLACE(parts[4 * q + r]);
          });
        });
      });
    }
    for_each_index<4 * Q>([&](auto i) FRAZIL_INLINE { sums[i] = vpaddlq_s16(parts[i]); });
  } else {
    for_each_index<4 * Q>([&](auto i) FRAZIL_INLINE { sums[i] = vdupq_n_s32(0); });
    for (std::size_t c = 0; c < chunks; ++c, queries += 16) {
      upcoming.ask();
      for_each_index<planes(W)>([&](auto p) FRAZIL_INLINE {
        int8x16_t rows[4];
        for_each_index<4>([&](auto r) FRAZIL_INLINE { rows[r] = vreinterpretq_s8_u8(load128(group + 16 * r)); });
        group += 64;
        for_each_index<Q>([&](auto q) FRAZIL_INLINE {
          const int8x16_t entries = load_entries(queries + p * plane + q * query_stride);
          for_each_index<4>([&](auto r) FRAZIL_INLINE {
            sums[4 * q + r] = vpadalq_s16(sums[4 * q + r], multiply(rows[r], entries));
            FRAZIL_IN_PLACE(sums[4 * q + r]);
          });
        });
      });
    }
  }
}

template <Width W, std::size_t Q>
void dot_group(const std::uint8_t* group, std::size_t row_bytes, const std::int8_t* queries, const std::int32_t* lack,
               std::int32_t* dots, std::size_t dots_stride, const std::int32_t* least, bool* reached,
               Upcoming<16 * kGroup> upcoming) {
  const std::size_t plane = plane_stride(row_bytes), chunks = tile_chunks(row_bytes);
  const std::size_t most = W == kInt4 ? kSection : chunks;
  int32x4_t totals[Q];
  for_each_index<Q>([&](auto q) FRAZIL_INLINE { totals[q] = vdupq_n_s32(lack[q]); });
  for (std::size_t c = 0; c < chunks; c += most) {
    int32x4_t sums[4 * Q];
    add_products<W, Q>(group + c * planes(W) * 64, smaller(most, chunks - c), queries + 16 * c, plane,
                       planes(W) * plane, upcoming, sums);
    for_each_index<Q>([&](auto q) FRAZIL_INLINE {
      const int32x4_t each[4] = {sums[4 * q], sums[4 * q + 1], sums[4 * q + 2], sums[4 * q + 3]};
      totals[q] = vaddq_s32(totals[q], sum_each(each));
    });
  }
  for_each_index<Q>([&](auto q) FRAZIL_INLINE {
    vst1q_s32(dots + q * dots_stride, totals[q]);
    if (vmaxvq_s32(totals[q]) >= least[q]) reached[q] = true;
  });
}

template <Width W>
void dot_tile(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
              std::size_t n_queries, std::size_t, std::int32_t* dots, std::size_t dots_stride,
              const std::int32_t* least, bool* reached, const std::uint8_t* ahead) {
  static constexpr DotGroup<kGroup>* kBySize[] = {nullptr, dot_group<W, 1>, dot_group<W, 2>, dot_group<W, 3>,
                                                  dot_group<W, 4>};
  dot_groups<kGroup, kQueryBlock, W, tile_bias(W)>(kBySize, tile, n, row_bytes, queries, n_queries, dots, dots_stride,
                                                   least, reached, ahead);
}

// ---------------------------------------------------------------- the unit's own rate

std::uint64_t dot_peak(std::uint64_t rounds, const std::uint8_t* codes, const std::int8_t* query, std::int32_t* sums) {
  int16x8_t sum[16];
  for_each_index<16>([&](auto i) FRAZIL_INLINE { sum[i] = vreinterpretq_s16_u8(load128(sums + 4 * i)); });
  const int8x16_t entries = load_entries(query);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const int8x16_t bytes[2] = {vreinterpretq_s8_u8(load128(codes + round % 16 * 32)),
                                vreinterpretq_s8_u8(load128(codes + round % 16 * 32 + 16))};
    for_each_index<32>([&](auto i) FRAZIL_INLINE {
      sum[i % 16] = multiply_add(sum[i % 16], bytes[i / 16], entries);
      FRAZIL_IN_PLACE(sum[i % 16]);
    });
  }
  for_each_index<16>([&](auto i) FRAZIL_INLINE { vst1q_s32(sums + 4 * i, vreinterpretq_s32_s16(sum[i])); });
  return rounds * 32 * 16;
}

constexpr TileKernels kTiles{kGroup,
                             4,
                             kUsualQueries,
                             false,
                             tile_bytes,
                             {load_tile<1, kInt4, tile_bias(kInt4)>, load_tile<1, kInt8, tile_bias(kInt8)>,
                              load_tile<1, kNormal4, tile_bias(kNormal4)>},
                             {dot_tile<kInt4>, dot_tile<kInt8>, dot_tile<kNormal4>}};

// ---------------------------------------------------------------- expand

void expand(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
            const std::uint8_t* levels, std::uint8_t* out) {
  const uint8x16_t table = load128(levels);
  const auto expand_bytes = [&](uint8x16_t bytes, std::uint8_t* to) FRAZIL_INLINE {
    const uint8x16x2_t levels_of = {{vqtbl1q_u8(table, high_nibbles(bytes)), vqtbl1q_u8(table, low_nibbles(bytes))}};
    vst2q_u8(to, levels_of);  // a macro of Clang's, which would take the commas for its own
  };
  expand_rows<16>(rows, stride, n, row_bytes, out, load128, load_bytes, expand_bytes);
}

}  // namespace

extern constinit const Kernels kernels_neon{
    .name = "neon",
    .pack_half = {pack<PackVector, kInt4, Half>, pack<PackVector, kInt8, Half>},
    .pack_bfloat16 = {pack<PackVector, kInt4, Bfloat16>, pack<PackVector, kInt8, Bfloat16>},
    .pack_single = {pack<PackVector, kInt4, float>, pack<PackVector, kInt8, float>},
    .pack_double = {pack<PackVector, kInt4, double>, pack<PackVector, kInt8, double>},
    .unpack = {unpack<kInt4>, unpack<kInt8>},
    .metric_rows = metric_rows<FloatVector>,
    .refine_row = refine_row<FloatVector>,
    .expand = expand,
    .dot_rows = {dot_rows<Unit, kInt4>, dot_rows<Unit, kInt8>, dot_rows<Unit, kNormal4>},
    .dot_picked = {dot_picked<Unit, kInt4>, dot_picked<Unit, kInt8>, dot_picked<Unit, kNormal4>},
    .float_rows = {float_rows<kInt4>, float_rows<kInt8>},
    .select = select,
    .sketch_rows = {sketch_rows<kInt4>, sketch_rows<kInt8>},
    .sketch_select = sketch_select,
    .tiles = &kTiles,
    .dot_peak = dot_peak,
};

}  // namespace frazil
