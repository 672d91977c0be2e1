// NEON with 8-bit matrix products (FEAT_I8MM: Neoverse V1 and N2, Apple M2 and later). For one query, USDOT sums four
// u8 x s8 products into each 32-bit lane; for many, USMMLA multiplies 8 dimensions of two rows with those of two
// queries. Codes are unsigned as they are. Only what multiplies integers; the rest is NEON's.
#include "vectors_neon.h"

namespace frazil {
namespace {

struct Unit {
  static constexpr std::size_t kChunks = 2;
  static constexpr int bias(Width) { return 0; }

  template <Width W, std::size_t Chunks>
  FRAZIL_INLINE static inline int32x4_t add(int32x4_t sum, const uint8x16_t* bytes, const int8x16_t* query0,
                                            const int8x16_t* query1) {
    for_each_index<Chunks>([&](auto k) FRAZIL_INLINE {
      sum = vusdotq_s32(sum, split<W>(bytes[k], 0), query0[k]);
      if constexpr (W != kInt8) sum = vusdotq_s32(sum, split<W>(bytes[k], 1), query1[k]);
    });
    return sum;
  }
};

// ---------------------------------------------------------------- tiles: many queries

constexpr std::size_t kRows = 2;           // of a vector, eight dimensions each
constexpr std::size_t kGroup = 4 * kRows;  // 8 rows
constexpr std::size_t kQueryBlock = 12;    // in pairs: 24 sums, 4 vectors of rows, one of queries

// Puts queries side by side as rows are in a tile: eight entries of two queries, for each pair of queries; zeros stand
// for a query that is missing from the last pair.
template <Width W>
void pair_up(const std::int8_t* queries, std::size_t n_queries, std::size_t row_bytes, std::int8_t* pairs) {
  const std::size_t n_pairs = (n_queries + 1) / 2, query_stride = planes(W) * plane_stride(row_bytes);
  for (std::size_t c = 0; c < tile_chunks(row_bytes); ++c) {
    for (std::size_t plane = 0; plane < planes(W); ++plane, pairs += 32 * n_pairs) {
      const std::int8_t* const from = queries + plane * plane_stride(row_bytes) + 16 * c;
      for (std::size_t p = 0; p < n_pairs; ++p) {
        uint8x16_t two[2] = {load128(from + 2 * p * query_stride), vdupq_n_u8(0)};
        if (2 * p + 1 < n_queries) two[1] = load128(from + (2 * p + 1) * query_stride);
        transpose(two);
        vst1q_s8(pairs + 16 * p, vreinterpretq_s8_u8(two[0]));
        vst1q_s8(pairs + 16 * (n_pairs + p), vreinterpretq_s8_u8(two[1]));
      }
    }
  }
}

// P pairs of queries against a group of rows.
template <std::size_t P, class UpcomingRows>
void dot_group(const std::uint8_t* group, std::size_t steps, const std::int8_t* pairs, std::size_t n_queries,
               std::int32_t* dots, std::size_t dots_stride, const std::int32_t* least, bool* reached,
               UpcomingRows upcoming) {
  int32x4_t sums[P * 4];  // rows 2v and 2v + 1 with the first and the second query of pair p: at 4p + v
  for_each_index<P * 4>([&](auto i) FRAZIL_INLINE { sums[i] = vdupq_n_s32(0); });
  for (std::size_t step = 0; step < steps; ++step, group += 64, pairs += 16 * P) {
    upcoming.ask();
    uint8x16_t rows[4];
    for_each_index<4>([&](auto v) FRAZIL_INLINE { rows[v] = load128(group + 16 * v); });
    const auto add_pair = [&](auto p, int8x16_t pair) FRAZIL_INLINE {
      for_each_index<4>([&](auto v) FRAZIL_INLINE {
        sums[4 * p + v] = vusmmlaq_s32(sums[4 * p + v], rows[v], pair);
        if constexpr (P == 6)
          FRAZIL_IN_PLACE(sums[4 * p + v]);  // with fewer GCC needs no help, and copies if it has it
      });
    };
    for_each_index<P / 2>([&](auto i) FRAZIL_INLINE {  // two are loaded by one instruction
      const int8x16_t two[2] = {load_entries(pairs + 32 * i), load_entries(pairs + 32 * i + 16)};
      add_pair(std::integral_constant<std::size_t, 2 * i>{}, two[0]);
      add_pair(std::integral_constant<std::size_t, 2 * i + 1>{}, two[1]);
    });
    if constexpr (P % 2 == 1) {
      add_pair(std::integral_constant<std::size_t, P - 1>{}, load_entries(pairs + 16 * (P - 1)));
    }
  }
  for_each_index<P>([&](auto p) FRAZIL_INLINE {
    const int32x4_t* const of = sums + 4 * p;
    const auto finish = [&](std::size_t q, int32x4_t low, int32x4_t high) FRAZIL_INLINE {
      vst1q_s32(dots + q * dots_stride, low);
      vst1q_s32(dots + q * dots_stride + 4, high);
      if (vmaxvq_s32(vmaxq_s32(low, high)) >= least[q]) reached[q] = true;
    };
    finish(2 * p, vuzp1q_s32(of[0], of[1]), vuzp1q_s32(of[2], of[3]));
    if (p + 1 < P || n_queries == 2 * P) finish(2 * p + 1, vuzp2q_s32(of[0], of[1]), vuzp2q_s32(of[2], of[3]));
  });
}

template <Width W>
void dot_tile(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
              std::size_t n_queries, std::size_t, std::int32_t* dots, std::size_t dots_stride,
              const std::int32_t* least, bool* reached, const std::uint8_t* ahead) {
  const std::size_t group_bytes = tile_bytes(W, kGroup, row_bytes), query_stride = planes(W) * plane_stride(row_bytes);
  using UpcomingRows = Upcoming<64 / planes(W)>;  // for each step, of 64 bytes of a tile
  using Group = void(const std::uint8_t*, std::size_t, const std::int8_t*, std::size_t, std::int32_t*, std::size_t,
                     const std::int32_t*, bool*, UpcomingRows);
  static constexpr Group* kByPairs[] = {nullptr,      dot_group<1>, dot_group<2>, dot_group<3>,
                                        dot_group<4>, dot_group<5>, dot_group<6>};
  std::int8_t pairs[kQueryBlock * kMaxDim];
  in_blocks(n_queries, kQueryBlock, [&](std::size_t q, std::size_t size) {
    const UpcomingRows upcoming(q == 0 ? ahead : nullptr, tile);
    pair_up<W>(queries + q * query_stride, size, row_bytes, pairs);
    for (std::size_t i = q; i < q + size; ++i) reached[i] = false;
    for (std::size_t r = 0; r < n; r += kGroup) {
      kByPairs[(size + 1) / 2](tile + r / kGroup * group_bytes, group_bytes / 64, pairs, size,
                               dots + q * dots_stride + r, dots_stride, least + q, reached + q,
                               upcoming.after(r * row_bytes));
    }
  });
}

std::uint64_t dot_peak(std::uint64_t rounds, const std::uint8_t* codes, const std::int8_t* query, std::int32_t* sums) {
  int32x4_t sum[16];
  for_each_index<16>([&](auto i) FRAZIL_INLINE { sum[i] = vld1q_s32(sums + 4 * i); });
  const int8x16_t entries = load_entries(query);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const uint8x16_t bytes = load128(codes + round % 32 * 16);
    for_each_index<16>([&](auto i) FRAZIL_INLINE {
      sum[i] = vusmmlaq_s32(sum[i], bytes, entries);
      FRAZIL_IN_PLACE(sum[i]);
    });
  }
  for_each_index<16>([&](auto i) FRAZIL_INLINE { vst1q_s32(sums + 4 * i, sum[i]); });
  return rounds * 16 * 32;
}

// From 3 queries on, by counting instructions.
constexpr TileKernels kTiles{kGroup,
                             3,
                             kUsualQueries,
                             false,
                             tile_bytes,
                             {load_tile<kRows, kInt4, 0>, load_tile<kRows, kInt8, 0>, load_tile<kRows, kNormal4, 0>},
                             {dot_tile<kInt4>, dot_tile<kInt8>, dot_tile<kNormal4>}};

}  // namespace

extern constinit const Kernels kernels_neoni8mm{
    .name = "neoni8mm",
    .dot_rows = {dot_rows<Unit, kInt4>, dot_rows<Unit, kInt8>, dot_rows<Unit, kNormal4>},
    .dot_picked = {dot_picked<Unit, kInt4>, dot_picked<Unit, kInt8>, dot_picked<Unit, kNormal4>},
    .tiles = &kTiles,
    .dot_peak = dot_peak,
};

}  // namespace frazil
