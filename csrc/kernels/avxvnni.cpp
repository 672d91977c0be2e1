// AVX-VNNI: vpdpbusd on 256-bit vectors (Alder Lake, Zen 5 and later). Four u8 x s8 products summed into each 32-bit
// lane, which cannot overflow here: 4,096 * 255 * 127 < 2^31. Only what multiplies integers; the rest is AVX2's.
#include "vectors256.h"
#include "vnni_tiles.h"

namespace frazil {
namespace {

// The products of one row with each of Q queries, `query_stride` bytes apart, in 8 lanes to be summed.
template <Width W, std::size_t Q>
FRAZIL_INLINE inline void dot_row(const std::uint8_t* row, std::size_t row_bytes, const Ahead& ahead,
                                  const std::int8_t* queries, std::size_t plane, __m256i (&sums)[Q]) {
  __m256i parts[Q][2];  // by planes
  for_each_index<2 * Q>([&](auto i) FRAZIL_INLINE { parts[i / 2][i % 2] = _mm256_setzero_si256(); });
  for (std::size_t i = 0; i < row_bytes; i += 32) {
    if (i % 64 == 0) ask(ahead, row + i, 1);
    const __m256i bytes = load_bytes(row + i, row_bytes - i);
    for_each_index<planes(W)>([&](auto p) FRAZIL_INLINE {
      const __m256i codes = split<W>(bytes, p);
      for_each_index<Q>([&](auto q) FRAZIL_INLINE {
        const __m256i entries = load256(queries + (q * planes(W) + p) * plane + i);
        parts[q][p] = _mm256_dpbusd_avx_epi32(parts[q][p], codes, entries);
      });
    });
  }
  for_each_index<Q>([&](auto q) FRAZIL_INLINE { sums[q] = _mm256_add_epi32(parts[q][0], parts[q][1]); });
}

template <Width W>
void dot_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
              const std::int8_t* queries, std::size_t n_queries, std::int32_t* dots, std::size_t dots_stride,
              const Ahead& ahead) {
  const std::size_t plane = plane_stride(row_bytes);
  in_blocks_of<4, 2, 1>(n_queries, [&](std::size_t q, auto count) FRAZIL_INLINE {
    const std::int8_t* const these = queries + q * planes(W) * plane;
    const auto one = [&](const std::uint8_t* row, auto bytes, const Ahead& there, auto& sums)
                         FRAZIL_INLINE { dot_row<W>(row, bytes, there, these, plane, sums); };
    with_rows(rows, stride, [&](auto at) FRAZIL_INLINE {
      dot_rows_by<RowVector, count>(one, at, q == 0 ? ahead : Ahead{}, n, row_bytes, dots + q * dots_stride,
                                    dots_stride);
    });
  });
}

template <Width W>
void dot_picked(const std::uint8_t* rows, std::ptrdiff_t stride, const std::uint32_t* picked, std::size_t n,
                std::size_t row_bytes, const std::int8_t* query, std::int32_t* dots) {
  const auto one = [&](const std::uint8_t* row, auto bytes, const Ahead& ahead, auto& sums)
                       FRAZIL_INLINE { dot_row<W>(row, bytes, ahead, query, plane_stride(row_bytes), sums); };
  with_picked(rows, stride, picked, n, row_bytes,
              [&](auto at) FRAZIL_INLINE { dot_rows_by<RowVector, 1>(one, at, {}, n, row_bytes, dots, n); });
}

template <Width W>
void load_tile(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
               std::uint8_t* tile) {
  load_planes<planes(W)>(rows, stride, n, row_bytes, tile,
                         [](__m256i bytes, std::size_t plane) FRAZIL_INLINE { return split<W>(bytes, plane); });
}

struct TileVector {
  static constexpr std::size_t kLanes = 8;
  static __m256i load(const void* at) { return load256(at); }
  static void store(void* at, __m256i v) { store256(at, v); }
  static __m256i all(std::int32_t entries) { return _mm256_set1_epi32(entries); }
  static __m256i dot(__m256i sums, __m256i codes, __m256i entries) {
    return _mm256_dpbusd_avx_epi32(sums, codes, entries);
  }
  static __m256i larger(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }
  static bool reaches(__m256i a, std::int32_t least) {
    return _mm256_movemask_epi8(_mm256_cmpgt_epi32(_mm256_set1_epi32(least), a)) != -1;
  }
};

static_assert(kGroup == kGroupOf<TileVector>);
constexpr std::size_t kQueryBlock = 6;  // 12 sums: the register file holds 16

std::uint64_t dot_peak(std::uint64_t rounds, const std::uint8_t* codes, const std::int8_t* query, std::int32_t* sums) {
  __m256i sum[12];
  for_each_index<12>([&](auto i) FRAZIL_INLINE { sum[i] = load256(sums + 8 * i); });
  const __m256i entries = load256(query);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const __m256i bytes = load256(codes + round % 8 * 32);
    for_each_index<12>([&](auto i) FRAZIL_INLINE {
      sum[i] = _mm256_dpbusd_avx_epi32(sum[i], bytes, entries);
      FRAZIL_IN_PLACE(sum[i]);
    });
  }
  for_each_index<12>([&](auto i) FRAZIL_INLINE { store256(sums + 8 * i, sum[i]); });
  return rounds * 12 * 32;
}

constexpr TileKernels kTiles{kGroup,
                             5,
                             kUsualQueries,
                             false,
                             tile_bytes,
                             {load_tile<kInt4>, load_tile<kInt8>, load_tile<kNormal4>},
                             {dot_tile<TileVector, kInt4, kQueryBlock>, dot_tile<TileVector, kInt8, kQueryBlock>,
                              dot_tile<TileVector, kInt4, kQueryBlock>}};

}  // namespace

extern constinit const Kernels kernels_avxvnni{
    .name = "avxvnni",
    .dot_rows = {dot_rows<kInt4>, dot_rows<kInt8>, dot_rows<kNormal4>},
    .dot_picked = {dot_picked<kInt4>, dot_picked<kInt8>, dot_picked<kNormal4>},
    .tiles = &kTiles,
    .dot_peak = dot_peak,
};

}  // namespace frazil
