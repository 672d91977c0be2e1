// AVX-VNNI: vpdpbusd on 256-bit vectors (Alder Lake, Zen 5 and later). Four u8 x s8 products summed into each 32-bit
// lane, which cannot overflow here: 4,096 * 255 * 127 < 2^31. Only what multiplies integers; the rest is AVX2's.
#include "vectors256.h"

namespace frazil {
namespace {

// The products of one row with the query, in 8 lanes to be summed.
template <Width W>
FRAZIL_INLINE inline __m256i dot_row(const std::uint8_t* row, std::size_t row_bytes, std::ptrdiff_t ahead,
                                     const std::int8_t* plane0, const std::int8_t* plane1) {
  __m256i even = _mm256_setzero_si256(), odd = even;
  for (std::size_t i = 0; i < row_bytes; i += 32) {
    if (i % 64 == 0) prefetch(row + i + ahead, 1);
    const __m256i bytes = load_bytes(row + i, row_bytes - i);
    even = _mm256_dpbusd_avx_epi32(even, split<W>(bytes, 0), load256(plane0 + i));
    if constexpr (W != kInt8) odd = _mm256_dpbusd_avx_epi32(odd, split<W>(bytes, 1), load256(plane1 + i));
  }
  return _mm256_add_epi32(even, odd);
}

template <Width W>
void dot_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
              const std::int8_t* query, std::int32_t* dots) {
  const std::int8_t* const second = query + (W == kInt8 ? 0 : plane_stride(row_bytes));
  const auto one = [&](const std::uint8_t* row, auto bytes, std::ptrdiff_t ahead)
                       FRAZIL_INLINE { return dot_row<W>(row, bytes, ahead, query, second); };
  const auto at = [&](std::size_t i) FRAZIL_INLINE { return rows + static_cast<std::ptrdiff_t>(i) * stride; };
  dot_rows_by(one, at, prefetch_distance(row_bytes, stride), n, row_bytes, dots);
}

template <Width W>
void dot_picked(const std::uint8_t* rows, std::ptrdiff_t stride, const std::uint32_t* picked, std::size_t n,
                std::size_t row_bytes, const std::int8_t* query, std::int32_t* dots) {
  const std::int8_t* const second = query + (W == kInt8 ? 0 : plane_stride(row_bytes));
  const auto one = [&](const std::uint8_t* row, auto bytes, std::ptrdiff_t ahead)
                       FRAZIL_INLINE { return dot_row<W>(row, bytes, ahead, query, second); };
  const auto at = [&](std::size_t i) FRAZIL_INLINE {
    prefetch(rows + static_cast<std::ptrdiff_t>(picked[smaller(i + kPrefetchPicked, n - 1)]) * stride, row_bytes);
    return rows + static_cast<std::ptrdiff_t>(picked[i]) * stride;
  };
  dot_rows_by(one, at, 0, n, row_bytes, dots);
}

std::size_t tile_bytes(Width width, std::size_t rows, std::size_t row_bytes) {
  return rows / kGroup * planes(width) * tile_steps(row_bytes) * 64;
}

template <Width W>
void load_tile(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
               std::uint8_t* tile) {
  load_planes<planes(W)>(rows, stride, n, row_bytes, tile,
                         [](__m256i bytes, std::size_t plane) FRAZIL_INLINE { return split<W>(bytes, plane); });
}

// Q queries against a group of 16 rows: 2Q sums in registers, each query's four bytes broadcast from memory.
template <Width W, std::size_t Q>
void dot_group(const std::uint8_t* group, std::size_t row_bytes, const std::int8_t* queries, std::int32_t* dots,
               std::size_t dots_stride, const std::int32_t* least, bool* reached) {
  const std::size_t steps = tile_steps(row_bytes), query_stride = planes(W) * plane_stride(row_bytes);
  __m256i sums[Q * 2];
  for_each_index<Q * 2>([&](auto i) FRAZIL_INLINE { sums[i] = _mm256_setzero_si256(); });
  for (std::size_t plane = 0; plane < planes(W); ++plane, queries += plane_stride(row_bytes)) {
    for (std::size_t step = 0; step < steps; ++step, group += 64) {
      const __m256i rows[2] = {load256(group), load256(group + 32)};
      for_each_index<Q>([&](auto q) FRAZIL_INLINE {
        const __m256i four = _mm256_set1_epi32(four_entries(queries + q * query_stride + 4 * step));
        for_each_index<2>([&](auto h) FRAZIL_INLINE {
          sums[q * 2 + h] = _mm256_dpbusd_avx_epi32(sums[q * 2 + h], rows[h], four);
          FRAZIL_IN_PLACE(sums[q * 2 + h]);
        });
      });
    }
  }
  for_each_index<Q>([&](auto q) FRAZIL_INLINE {
    store256(dots + q * dots_stride, sums[2 * q]);
    store256(dots + q * dots_stride + 8, sums[2 * q + 1]);
    const __m256i most = _mm256_max_epi32(sums[2 * q], sums[2 * q + 1]);
    const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(least[q]), most);
    if (_mm256_movemask_epi8(below) != -1) reached[q] = true;
  });
}

// 6 queries: 12 sums, 2 vectors of rows, one broadcast; the register file holds 16.
constexpr std::size_t kQueryBlock = 6;

template <Width W>
void dot_tile(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
              std::size_t n_queries, std::int32_t* dots, std::size_t dots_stride, const std::int32_t* least,
              bool* reached) {
  const std::size_t group_bytes = tile_bytes(W, kGroup, row_bytes), query_stride = planes(W) * plane_stride(row_bytes);
  using Group = void(const std::uint8_t*, std::size_t, const std::int8_t*, std::int32_t*, std::size_t,
                     const std::int32_t*, bool*);
  static constexpr Group* kBySize[] = {nullptr,         dot_group<W, 1>, dot_group<W, 2>, dot_group<W, 3>,
                                       dot_group<W, 4>, dot_group<W, 5>, dot_group<W, 6>};
  for (std::size_t q = 0; q < n_queries; q += kQueryBlock) {
    const std::size_t block = smaller(kQueryBlock, n_queries - q);
    for (std::size_t i = q; i < q + block; ++i) reached[i] = false;
    for (std::size_t r = 0; r < n; r += kGroup) {
      kBySize[block](tile + r / kGroup * group_bytes, row_bytes, queries + q * query_stride, dots + q * dots_stride + r,
                     dots_stride, least + q, reached + q);
    }
  }
}

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
                             tile_bytes,
                             {load_tile<kInt4>, load_tile<kInt8>, load_tile<kNormal4>},
                             {dot_tile<kInt4>, dot_tile<kInt8>, dot_tile<kNormal4>}};

}  // namespace

extern constinit const Kernels kernels_avxvnni{
    .name = "avxvnni",
    .dot_rows = {dot_rows<kInt4>, dot_rows<kInt8>, dot_rows<kNormal4>},
    .dot_picked = {dot_picked<kInt4>, dot_picked<kInt8>, dot_picked<kNormal4>},
    .tiles = &kTiles,
    .dot_peak = dot_peak,
};

}  // namespace frazil
