// What Arm's sets share: loading, splitting bytes into codes, walking over rows, filling tiles. In an unnamed namespace:
// each file that includes this compiles it with its own flags (see format.h).
//
// A set gives its dot product as a struct `Unit`:
//   bias(width)                   what it wants taken from each code of that width, so that codes are signed bytes
//   add<W, Chunks>(sum, bytes, query0, query1)
//                                 adds a row's products with the query to 4 sums: Chunks times 16 bytes of the row, and the
//                                 query's entries for the first and the second plane of codes
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "../kernel_table.h"
#include "../prefetch.h"
#include "common.h"

namespace frazil {
namespace {

[[maybe_unused]] uint8x16_t load128(const void* at) { return vld1q_u8(static_cast<const std::uint8_t*>(at)); }
[[maybe_unused]] int8x16_t load_entries(const std::int8_t* at) { return vld1q_s8(at); }

// The n < 16 bytes at `at`, then zeros.
[[maybe_unused]] uint8x16_t load_head(const std::uint8_t* at, std::size_t n) {
  std::uint8_t bytes[16] = {};
  std::memcpy(bytes, at, n);
  return load128(bytes);
}
// The first n bytes at `at`, of which 16 are read if there are so many.
[[maybe_unused]] uint8x16_t load_bytes(const std::uint8_t* at, std::size_t n) {
  return n >= 16 ? load128(at) : load_head(at, n);
}

[[maybe_unused]] uint8x16_t high_nibbles(uint8x16_t bytes) { return vshrq_n_u8(bytes, 4); }
[[maybe_unused]] uint8x16_t low_nibbles(uint8x16_t bytes) { return vandq_u8(bytes, vdupq_n_u8(15)); }

// 16 codes as signed bytes, less Bias.
template <int Bias>
[[maybe_unused]] int8x16_t signed_codes(uint8x16_t codes) {
  if constexpr (Bias == 0) return vreinterpretq_s8_u8(codes);
  return vreinterpretq_s8_u8(vsubq_u8(codes, vdupq_n_u8(Bias)));
}

// What a biased row's products lack: Bias times the sum of the query's entries for a row, which zeros follow.
template <int Bias, Width W>
std::int32_t lacking(const std::int8_t* query, std::size_t row_bytes) {
  if constexpr (Bias == 0) return 0;
  int32x4_t sum = vdupq_n_s32(0);
  for (std::size_t plane = 0; plane < planes(W); ++plane, query += plane_stride(row_bytes)) {
    for (std::size_t j = 0; j < row_bytes; j += 16) sum = vpadalq_s16(sum, vpaddlq_s8(load_entries(query + j)));
  }
  return Bias * vaddvq_s32(sum);
}

// Lane l of the result is the sum of the lanes of v[l].
[[maybe_unused]] int32x4_t sum_each(const int32x4_t (&v)[4]) {
  return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

// ---------------------------------------------------------------- one query against rows where they lie

// Fills dots[i] for the rows at row_at(i), four at a time, asking for what lies `ahead` of each, if that is not 0:
// products(rows, sums) gives each of four rows' products with the query, in 4 lanes to be summed.
template <class Products, class RowAt, class Bytes>
FRAZIL_INLINE inline void four_rows_at_a_time(Products&& products, RowAt&& row_at, std::ptrdiff_t ahead, std::size_t n,
                                              Bytes row_bytes, int32x4_t lack, std::int32_t* dots) {
  const std::uint8_t* rows[4];
  int32x4_t sums[4];
  std::size_t r = 0;
  for (; r + 4 <= n; r += 4) {
    for_each_index<4>([&](auto i) FRAZIL_INLINE {
      rows[i] = row_at(r + i);
      if (ahead != 0) prefetch(rows[i] + ahead, row_bytes);
    });
    products(rows, sums);
    vst1q_s32(dots + r, vaddq_s32(sum_each(sums), lack));
  }
  if (r < n) {
    for (std::size_t i = 0; i < 4; ++i) rows[i] = row_at(smaller(r + i, n - 1));
    products(rows, sums);
    std::int32_t last[4];
    vst1q_s32(last, vaddq_s32(sum_each(sums), lack));
    std::memcpy(dots + r, last, (n - r) * sizeof(std::int32_t));
  }
}

// Bytes of a row whose query stays in registers: 256 dimensions.
template <Width W>
constexpr std::size_t kKeptBytes = W == kInt4 ? 128 : 256;

template <class Unit, Width W, class RowAt>
void dot_rows_at(RowAt&& row_at, std::ptrdiff_t ahead, std::size_t n, std::size_t row_bytes, const std::int8_t* query,
                 std::int32_t* dots) {
  const std::int8_t* const second = query + (W == kInt4 ? plane_stride(row_bytes) : 0);
  const int32x4_t lack = vdupq_n_s32(lacking<Unit::bias(W), W>(query, row_bytes));
  if (row_bytes == kKeptBytes<W>) {
    constexpr std::size_t kChunks = kKeptBytes<W> / 16, kStep = 4;
    int8x16_t entries[16];
    for_each_index<16>([&](auto i) FRAZIL_INLINE { entries[i] = load_entries(query + 16 * i); });
    const int8x16_t* const entries1 = entries + (W == kInt4 ? kChunks : 0);
    const auto products = [&](const std::uint8_t* const(&rows)[4], int32x4_t(&sums)[4]) FRAZIL_INLINE {
      for_each_index<4>([&](auto i) FRAZIL_INLINE { sums[i] = vdupq_n_s32(0); });
      for_each_index<kChunks / kStep>([&](auto c) FRAZIL_INLINE {
        constexpr std::size_t kFirst = c * kStep;
        for_each_index<4>([&](auto i) FRAZIL_INLINE {
          uint8x16_t bytes[kStep];
          for_each_index<kStep>([&](auto k) FRAZIL_INLINE { bytes[k] = load128(rows[i] + 16 * (kFirst + k)); });
          sums[i] = Unit::template add<W, kStep>(sums[i], bytes, entries + kFirst, entries1 + kFirst);
        });
      });
    };
    const std::integral_constant<std::size_t, kKeptBytes<W>> bytes;
    four_rows_at_a_time(products, row_at, ahead, n, bytes, lack, dots);
    return;
  }
  const auto products = [&](const std::uint8_t* const(&rows)[4], int32x4_t(&sums)[4]) FRAZIL_INLINE {
    for_each_index<4>([&](auto i) FRAZIL_INLINE { sums[i] = vdupq_n_s32(0); });
    const auto chunk = [&](std::size_t j, auto&& load) FRAZIL_INLINE {
      const int8x16_t entries0[1] = {load_entries(query + j)}, entries1[1] = {load_entries(second + j)};
      for_each_index<4>([&](auto i) FRAZIL_INLINE {
        const uint8x16_t bytes[1] = {load(rows[i] + j)};
        sums[i] = Unit::template add<W, 1>(sums[i], bytes, entries0, entries1);
        FRAZIL_IN_PLACE(sums[i]);
      });
    };
    std::size_t j = 0;
    for (; j + 16 <= row_bytes; j += 16) chunk(j, [](const std::uint8_t* at) FRAZIL_INLINE { return load128(at); });
    if (j < row_bytes) chunk(j, [&](const std::uint8_t* at) FRAZIL_INLINE { return load_head(at, row_bytes - j); });
  };
  four_rows_at_a_time(products, row_at, ahead, n, row_bytes, lack, dots);
}

template <class Unit, Width W>
void dot_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
              const std::int8_t* query, std::int32_t* dots) {
  const auto at = [&](std::size_t i) FRAZIL_INLINE { return rows + static_cast<std::ptrdiff_t>(i) * stride; };
  dot_rows_at<Unit, W>(at, prefetch_distance(row_bytes, stride), n, row_bytes, query, dots);
}

template <class Unit, Width W>
void dot_picked(const std::uint8_t* rows, std::ptrdiff_t stride, const std::uint32_t* picked, std::size_t n,
                std::size_t row_bytes, const std::int8_t* query, std::int32_t* dots) {
  const auto at = [&](std::size_t i) FRAZIL_INLINE {
    prefetch(rows + static_cast<std::ptrdiff_t>(picked[smaller(i + kPrefetchPicked, n - 1)]) * stride, row_bytes);
    return rows + static_cast<std::ptrdiff_t>(picked[i]) * stride;
  };
  dot_rows_at<Unit, W>(at, 0, n, row_bytes, query, dots);
}

// ---------------------------------------------------------------- tiles

// A vector of a tile holds the same 16 / Rows codes' worth of dimensions of Rows neighbouring rows (1, 2 or 4), four
// vectors side by side those of a group of 4 * Rows rows. For each 16 bytes of the rows, zeros added to the last: for
// each plane of codes: Rows times four vectors.
[[maybe_unused]] std::size_t tile_chunks(std::size_t row_bytes) { return (row_bytes + 15) / 16; }

[[maybe_unused]] std::size_t tile_bytes(Width width, std::size_t rows, std::size_t row_bytes) {
  return rows * planes(width) * tile_chunks(row_bytes) * 16;
}

// From 16 codes of each of a few rows to the same few dimensions of all of them.
[[maybe_unused]] FRAZIL_INLINE inline void transpose(int8x16_t (&)[1]) {}
[[maybe_unused]] FRAZIL_INLINE inline void transpose(int8x16_t (&v)[2]) {
  const int64x2_t a = vreinterpretq_s64_s8(v[0]), b = vreinterpretq_s64_s8(v[1]);
  v[0] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
  v[1] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
}
[[maybe_unused]] FRAZIL_INLINE inline void transpose(int8x16_t (&v)[4]) {
  int64x2_t even[2], odd[2];  // dwords 0 and 2, 1 and 3, of two rows
  for_each_index<2>([&](auto i) FRAZIL_INLINE {
    const int32x4_t a = vreinterpretq_s32_s8(v[2 * i]), b = vreinterpretq_s32_s8(v[2 * i + 1]);
    even[i] = vreinterpretq_s64_s32(vtrn1q_s32(a, b));
    odd[i] = vreinterpretq_s64_s32(vtrn2q_s32(a, b));
  });
  v[0] = vreinterpretq_s8_s64(vzip1q_s64(even[0], even[1]));
  v[1] = vreinterpretq_s8_s64(vzip1q_s64(odd[0], odd[1]));
  v[2] = vreinterpretq_s8_s64(vzip2q_s64(even[0], even[1]));
  v[3] = vreinterpretq_s8_s64(vzip2q_s64(odd[0], odd[1]));
}

// Bias is taken from each code.
template <std::size_t Rows, Width W, int Bias>
void load_tile(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
               std::uint8_t* tile) {
  constexpr std::size_t kGroup = 4 * Rows;
  const std::ptrdiff_t ahead = prefetch_distance(row_bytes, stride);
  const std::size_t group_bytes = tile_bytes(W, kGroup, row_bytes), padded = (n + kGroup - 1) / kGroup * kGroup;
  const auto put = [](uint8x16_t(&codes)[Rows], std::uint8_t* to) FRAZIL_INLINE {
    int8x16_t v[Rows];
    for_each_index<Rows>([&](auto i) FRAZIL_INLINE { v[i] = signed_codes<Bias>(codes[i]); });
    transpose(v);
    for_each_index<Rows>([&](auto i) FRAZIL_INLINE { vst1q_s8(reinterpret_cast<std::int8_t*>(to + 64 * i), v[i]); });
  };
  const auto store = [&](uint8x16_t(&bytes)[Rows], std::uint8_t* to) FRAZIL_INLINE {
    if constexpr (W == kInt4) {
      uint8x16_t high[Rows], low[Rows];
      for_each_index<Rows>([&](auto i) FRAZIL_INLINE {
        high[i] = high_nibbles(bytes[i]);
        low[i] = low_nibbles(bytes[i]);
      });
      put(high, to);
      put(low, to + 64 * Rows);
    } else {
      put(bytes, to);
    }
  };
  for (std::size_t r = 0; r < padded; r += Rows) {
    std::uint8_t* to = tile + r / kGroup * group_bytes + r % kGroup / Rows * 16;
    const std::uint8_t* const first = rows + static_cast<std::ptrdiff_t>(r) * stride;
    std::size_t j = 0;
    uint8x16_t bytes[Rows];
    if (r + Rows <= n) {
      for (; j + 16 <= row_bytes; j += 16, to += planes(W) * 64 * Rows) {
        for_each_index<Rows>([&](auto i) FRAZIL_INLINE {
          const std::uint8_t* const at = first + static_cast<std::ptrdiff_t>(i) * stride + j;
          if (j % 64 == 0) prefetch(at + ahead, 1);
          bytes[i] = load128(at);
        });
        store(bytes, to);
      }
    }
    for (; j < row_bytes; j += 16, to += planes(W) * 64 * Rows) {  // the last rows, and what is left of a row
      for (std::size_t i = 0; i < Rows; ++i) {
        const std::uint8_t* const at = first + static_cast<std::ptrdiff_t>(i) * stride + j;
        bytes[i] = r + i < n ? load_bytes(at, row_bytes - j) : vdupq_n_u8(0);
      }
      store(bytes, to);
    }
  }
}

// Calls block(first, size) for n queries in blocks of at most `most`, about as many in each.
template <class Block>
void in_blocks(std::size_t n, std::size_t most, Block&& block) {
  for (std::size_t left = (n + most - 1) / most, q = 0; q < n; --left) {
    const std::size_t size = (n - q + left - 1) / left;
    block(q, size);
    q += size;
  }
}

// What multiplies 1, 2 … queries with a group of rows; `lack` is what their dots begin from.
using DotGroup = void(const std::uint8_t* group, std::size_t row_bytes, const std::int8_t* queries,
                      const std::int32_t* lack, std::int32_t* dots, std::size_t dots_stride, const std::int32_t* least,
                      bool* reached);

// A tile's dots, by groups of `Group` rows and blocks of at most `Most` queries, with by_size[queries].
template <std::size_t Group, std::size_t Most, Width W, int Bias>
void dot_groups(DotGroup* const (&by_size)[Most + 1], const std::uint8_t* tile, std::size_t n, std::size_t row_bytes,
                const std::int8_t* queries, std::size_t n_queries, std::int32_t* dots, std::size_t dots_stride,
                const std::int32_t* least, bool* reached) {
  const std::size_t group_bytes = tile_bytes(W, Group, row_bytes), query_stride = planes(W) * plane_stride(row_bytes);
  in_blocks(n_queries, Most, [&](std::size_t q, std::size_t size) {
    std::int32_t lack[Most];
    for (std::size_t i = 0; i < size; ++i) {
      lack[i] = lacking<Bias, W>(queries + (q + i) * query_stride, row_bytes);
      reached[q + i] = false;
    }
    for (std::size_t r = 0; r < n; r += Group) {
      by_size[size](tile + r / Group * group_bytes, row_bytes, queries + q * query_stride, lack,
                    dots + q * dots_stride + r, dots_stride, least + q, reached + q);
    }
  });
}

}  // namespace
}  // namespace frazil
