// NEON with dot products (FEAT_DotProd: Cortex-A75, Neoverse N1, Apple M1 and later). SDOT sums four s8 x s8 products
// into each 32-bit lane. Codes of 8 bits are unsigned: 128 is taken from each, and 128 times the query's sum added.
// Only what multiplies integers; the rest is NEON's.
#include "vectors_neon.h"

namespace frazil {
namespace {

struct Unit {
  static constexpr std::size_t kChunks = 2;
  static constexpr int bias(Width width) { return width == kInt4 ? 0 : 128; }

  template <Width W, std::size_t Chunks>
  FRAZIL_INLINE static inline int32x4_t add(int32x4_t sum, const uint8x16_t* bytes, const int8x16_t* query0,
                                            const int8x16_t* query1) {
    for_each_index<Chunks>([&](auto k) FRAZIL_INLINE {
      sum = vdotq_s32(sum, signed_codes<bias(W)>(split<W>(bytes[k], 0)), query0[k]);
      if constexpr (W != kInt8) sum = vdotq_s32(sum, signed_codes<bias(W)>(split<W>(bytes[k], 1)), query1[k]);
    });
    return sum;
  }
};

// ---------------------------------------------------------------- tiles: many queries

constexpr std::size_t kRows = 4;           // of a vector, four dimensions each
constexpr std::size_t kGroup = 4 * kRows;  // 16 rows
constexpr std::size_t kQueryBlock = 6;     // 24 sums, 6 vectors of queries, 2 of rows: the register file holds 32

// Q queries against a group of rows: a query's vector has the entries of four steps, each multiplied from its lane.
template <Width W, std::size_t Q>
void dot_group(const std::uint8_t* group, std::size_t row_bytes, const std::int8_t* queries, const std::int32_t* lack,
               std::int32_t* dots, std::size_t dots_stride, const std::int32_t* least, bool* reached,
               Upcoming<16 * kGroup> upcoming) {
  const std::size_t chunks = tile_chunks(row_bytes), query_stride = planes(W) * plane_stride(row_bytes);
  int32x4_t sums[Q * 4];
  for_each_index<Q * 4>([&](auto i) FRAZIL_INLINE { sums[i] = vdupq_n_s32(lack[i / 4]); });
  for (std::size_t c = 0; c < chunks; ++c, queries += 16) {
    upcoming.ask();
    for_each_index<planes(W)>([&](auto plane) FRAZIL_INLINE {
      const std::int8_t* const from = queries + plane * plane_stride(row_bytes);
      int8x16_t entries[Q];
      for_each_index<Q>([&](auto q) FRAZIL_INLINE { entries[q] = load_entries(from + q * query_stride); });
      for_each_index<4>([&](auto step) FRAZIL_INLINE {
        for_each_index<2>([&](auto half) FRAZIL_INLINE {
          const std::uint8_t* const at = group + 64 * step + 32 * half;
          const int8x16_t rows[2] = {vreinterpretq_s8_u8(load128(at)), vreinterpretq_s8_u8(load128(at + 16))};
          for_each_index<2 * Q>([&](auto i) FRAZIL_INLINE {
            int32x4_t& sum = sums[i / 2 * 4 + 2 * half + i % 2];
            sum = vdotq_laneq_s32(sum, rows[i % 2], entries[i / 2], step);
            FRAZIL_IN_PLACE(sum);
          });
        });
      });
      group += 256;
    });
  }
  for_each_index<Q>([&](auto q) FRAZIL_INLINE {
    std::int32_t* const to = dots + q * dots_stride;
    for_each_index<4>([&](auto v) FRAZIL_INLINE { vst1q_s32(to + 4 * v, sums[q * 4 + v]); });
    const int32x4_t most =
        vmaxq_s32(vmaxq_s32(sums[q * 4], sums[q * 4 + 1]), vmaxq_s32(sums[q * 4 + 2], sums[q * 4 + 3]));
    if (vmaxvq_s32(most) >= least[q]) reached[q] = true;
  });
}

template <Width W>
void dot_tile(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
              std::size_t n_queries, std::size_t, std::int32_t* dots, std::size_t dots_stride,
              const std::int32_t* least, bool* reached, const std::uint8_t* ahead) {
  static constexpr DotGroup<kGroup>* kBySize[] = {nullptr,         dot_group<W, 1>, dot_group<W, 2>, dot_group<W, 3>,
                                                  dot_group<W, 4>, dot_group<W, 5>, dot_group<W, 6>};
  dot_groups<kGroup, kQueryBlock, W, Unit::bias(W)>(kBySize, tile, n, row_bytes, queries, n_queries, dots, dots_stride,
                                                    least, reached, ahead);
}

std::uint64_t dot_peak(std::uint64_t rounds, const std::uint8_t* codes, const std::int8_t* query, std::int32_t* sums) {
  int32x4_t sum[16];
  for_each_index<16>([&](auto i) FRAZIL_INLINE { sum[i] = vld1q_s32(sums + 4 * i); });
  const int8x16_t entries = load_entries(query);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const int8x16_t bytes[2] = {vreinterpretq_s8_u8(load128(codes + round % 16 * 32)),
                                vreinterpretq_s8_u8(load128(codes + round % 16 * 32 + 16))};
    for_each_index<32>([&](auto i) FRAZIL_INLINE {
      sum[i % 16] = vdotq_s32(sum[i % 16], bytes[i / 16], entries);
      FRAZIL_IN_PLACE(sum[i % 16]);
    });
  }
  for_each_index<16>([&](auto i) FRAZIL_INLINE { vst1q_s32(sums + 4 * i, sum[i]); });
  return rounds * 32 * 16;
}

// From 4 queries on, by counting instructions.
constexpr TileKernels kTiles{kGroup,
                             4,
                             kUsualQueries,
                             false,
                             tile_bytes,
                             {load_tile<kRows, kInt4, Unit::bias(kInt4)>, load_tile<kRows, kInt8, Unit::bias(kInt8)>,
                              load_tile<kRows, kNormal4, Unit::bias(kNormal4)>},
                             {dot_tile<kInt4>, dot_tile<kInt8>, dot_tile<kNormal4>}};

}  // namespace

extern constinit const Kernels kernels_neondot{
    .name = "neondot",
    .dot_rows = {dot_rows<Unit, kInt4>, dot_rows<Unit, kInt8>, dot_rows<Unit, kNormal4>},
    .dot_picked = {dot_picked<Unit, kInt4>, dot_picked<Unit, kInt8>, dot_picked<Unit, kNormal4>},
    .tiles = &kTiles,
    .dot_peak = dot_peak,
};

}  // namespace frazil
