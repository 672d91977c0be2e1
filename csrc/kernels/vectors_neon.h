// What Arm's sets share: loading, splitting bytes into codes, walking over rows, filling tiles. In an unnamed
// namespace: each file that includes this compiles it with its own flags (see format.h).
//
// A set gives its dot product as a struct `Unit`:
//   bias(width)                   what it wants taken from each code of that width, so that codes are signed bytes
//   add<W, Chunks>(sum, bytes, query0, query1)
//                                 adds a row's products with the query to 4 sums: Chunks times 16 bytes of the row, and
//                                 the query's entries for the first and the second plane of codes
//   kChunks                       how many at a time are best
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "../kernel_table.h"
#include "common.h"
#include "rows.h"
#include "upcoming.h"

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

// What a plane holds of 16 bytes of a row: the levels of high or of low nibbles, or bytes as they are.
template <Width W>
[[maybe_unused]] FRAZIL_INLINE inline uint8x16_t split(uint8x16_t bytes, std::size_t plane) {
  if constexpr (W == kInt8) return bytes;
  const uint8x16_t codes = plane == 0 ? high_nibbles(bytes) : low_nibbles(bytes);
  return W == kNormal4 ? vqtbl1q_u8(load128(kNormalLevels), codes) : codes;
}

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

// Fills dots[r] for the rows at row_at(r), four at a time as long as there are so many, asking for what lies `ahead`:
// products(rows, sums) gives each of four rows' products with the query, in 4 lanes to be summed.
template <class Products, class RowAt, class Bytes>
FRAZIL_INLINE inline void four_rows_at_a_time(Products&& products, RowAt row_at, const Ahead& ahead, std::size_t& r,
                                              std::size_t n, Bytes row_bytes, int32x4_t lack, std::int32_t* dots) {
  for (; r + 4 <= n; r += 4) {
    const std::uint8_t* rows[4];
    int32x4_t sums[4];
    for_each_index<4>([&](auto i) FRAZIL_INLINE {
      rows[i] = row_at(r + i);
      ask(ahead, rows[i], row_bytes);
    });
    products(rows, sums);
    vst1q_s32(dots + r, vaddq_s32(sum_each(sums), lack));
  }
}

template <class Unit, Width W, class RowAt>
void dot_rows_at(RowAt row_at, const Ahead& ahead, std::size_t n, std::size_t row_bytes, const std::int8_t* query,
                 std::int32_t* dots) {
  const std::int8_t* const second = query + (W == kInt8 ? 0 : plane_stride(row_bytes));
  const int32x4_t lack = vdupq_n_s32(lacking<Unit::bias(W), W>(query, row_bytes));
  // Adds the products of `chunks` times 16 bytes of each row, which load(where) reads.
  const auto add_chunks = [&](auto chunks, const std::uint8_t* const(&rows)[4], std::size_t j, int32x4_t(&sums)[4],
                              auto&& load) FRAZIL_INLINE {
    constexpr std::size_t kChunks = decltype(chunks)::value;
    int8x16_t entries0[kChunks], entries1[kChunks];
    for_each_index<kChunks>([&](auto k) FRAZIL_INLINE {
      entries0[k] = load_entries(query + j + 16 * k);
      entries1[k] = load_entries(second + j + 16 * k);
    });
    for_each_index<4>([&](auto i) FRAZIL_INLINE {
      uint8x16_t bytes[kChunks];
      for_each_index<kChunks>([&](auto k) FRAZIL_INLINE { bytes[k] = load(rows[i] + j + 16 * k); });
      sums[i] = Unit::template add<W, kChunks>(sums[i], bytes, entries0, entries1);
      FRAZIL_IN_PLACE(sums[i]);
    });
  };
  const auto whole = [](const std::uint8_t* at) FRAZIL_INLINE { return load128(at); };
  const auto zero = [](int32x4_t(&sums)[4])
                        FRAZIL_INLINE { for_each_index<4>([&](auto i) FRAZIL_INLINE { sums[i] = vdupq_n_s32(0); }); };
  std::size_t r = 0;
  constexpr std::integral_constant<std::size_t, W == kInt8 ? 256 : 128> kUsual;  // 256 dimensions, as a constant
  if (row_bytes == kUsual) {
    constexpr std::integral_constant<std::size_t, Unit::kChunks> kTogether;
    const auto products = [&](const std::uint8_t* const(&rows)[4], int32x4_t(&sums)[4]) FRAZIL_INLINE {
      zero(sums);
      for_each_index<kUsual / (16 * kTogether)>(
          [&](auto c) FRAZIL_INLINE { add_chunks(kTogether, rows, c * 16 * kTogether, sums, whole); });
    };
    four_rows_at_a_time(products, row_at, ahead, r, n, kUsual, lack, dots);
  }
  const auto products = [&](const std::uint8_t* const(&rows)[4], int32x4_t(&sums)[4]) FRAZIL_INLINE {
    constexpr std::integral_constant<std::size_t, 1> kOne;
    zero(sums);
    std::size_t j = 0;
    for (; j + 16 <= row_bytes; j += 16) add_chunks(kOne, rows, j, sums, whole);
    const auto head = [&](const std::uint8_t* at) FRAZIL_INLINE { return load_head(at, row_bytes - j); };
    if (j < row_bytes) add_chunks(kOne, rows, j, sums, head);
  };
  four_rows_at_a_time(products, row_at, ahead, r, n, row_bytes, lack, dots);
  if (r < n) {
    const std::uint8_t* rows[4];
    for (std::size_t i = 0; i < 4; ++i) rows[i] = row_at(smaller(r + i, n - 1));
    int32x4_t sums[4];
    products(rows, sums);
    std::int32_t last[4];
    vst1q_s32(last, vaddq_s32(sum_each(sums), lack));
    std::memcpy(dots + r, last, (n - r) * sizeof(std::int32_t));
  }
}

template <class Unit, Width W>
void dot_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
              const std::int8_t* queries, std::size_t n_queries, std::int32_t* dots, std::size_t dots_stride,
              const Ahead& ahead) {
  for (std::size_t q = 0; q < n_queries; ++q, queries += planes(W) * plane_stride(row_bytes), dots += dots_stride) {
    with_rows(rows, stride, [&](auto at) FRAZIL_INLINE {
      dot_rows_at<Unit, W>(at, q == 0 ? ahead : Ahead{}, n, row_bytes, queries, dots);
    });
  }
}

template <class Unit, Width W>
void dot_picked(const std::uint8_t* rows, std::ptrdiff_t stride, const std::uint32_t* picked, std::size_t n,
                std::size_t row_bytes, const std::int8_t* query, std::int32_t* dots) {
  with_picked(rows, stride, picked, n, row_bytes,
              [&](auto at) FRAZIL_INLINE { dot_rows_at<Unit, W>(at, {}, n, row_bytes, query, dots); });
}

// ---------------------------------------------------------------- tiles

// A vector of a tile holds the same 16 / Rows codes' worth of dimensions of Rows neighbouring rows (1, 2 or 4), four
// vectors side by side those of a group of 4 * Rows rows. For each 16 bytes of the rows, zeros added to the last: for
// each plane of codes: Rows times four vectors.
[[maybe_unused]] std::size_t tile_chunks(std::size_t row_bytes) { return (row_bytes + 15) / 16; }

[[maybe_unused]] std::size_t tile_bytes(Width width, std::size_t rows, std::size_t row_bytes) {
  return rows * planes(width) * tile_chunks(row_bytes) * 16;
}

// From 16 bytes of each of a few rows to the same few bytes of all of them.
[[maybe_unused]] FRAZIL_INLINE inline void transpose(uint8x16_t (&)[1]) {}
[[maybe_unused]] FRAZIL_INLINE inline void transpose(uint8x16_t (&v)[2]) {
  const uint64x2_t a = vreinterpretq_u64_u8(v[0]), b = vreinterpretq_u64_u8(v[1]);
  v[0] = vreinterpretq_u8_u64(vzip1q_u64(a, b));
  v[1] = vreinterpretq_u8_u64(vzip2q_u64(a, b));
}
[[maybe_unused]] FRAZIL_INLINE inline void transpose(uint8x16_t (&v)[4]) {
  uint64x2_t even[2], odd[2];  // dwords 0 and 2, 1 and 3, of two rows
  for_each_index<2>([&](auto i) FRAZIL_INLINE {
    const uint32x4_t a = vreinterpretq_u32_u8(v[2 * i]), b = vreinterpretq_u32_u8(v[2 * i + 1]);
    even[i] = vreinterpretq_u64_u32(vtrn1q_u32(a, b));
    odd[i] = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
  });
  v[0] = vreinterpretq_u8_u64(vzip1q_u64(even[0], even[1]));
  v[1] = vreinterpretq_u8_u64(vzip1q_u64(odd[0], odd[1]));
  v[2] = vreinterpretq_u8_u64(vzip2q_u64(even[0], even[1]));
  v[3] = vreinterpretq_u8_u64(vzip2q_u64(odd[0], odd[1]));
}

// Bias is taken from each code.
template <std::size_t Rows, Width W, int Bias>
void load_tile(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
               std::uint8_t* tile) {
  constexpr std::size_t kGroup = 4 * Rows, kVectors = 64 * Rows, kChunk = planes(W) * kVectors;  // bytes
  const std::size_t group_bytes = tile_bytes(W, kGroup, row_bytes), padded = (n + kGroup - 1) / kGroup * kGroup;
  const auto store = [](uint8x16_t(&bytes)[Rows], std::uint8_t* to) FRAZIL_INLINE {
    const auto put = [](uint8x16_t codes, std::uint8_t* at)
                         FRAZIL_INLINE { vst1q_s8(reinterpret_cast<std::int8_t*>(at), signed_codes<Bias>(codes)); };
    transpose(bytes);
    for_each_index<Rows>([&](auto i) FRAZIL_INLINE {
      for_each_index<planes(W)>([&](auto plane)
                                    FRAZIL_INLINE { put(split<W>(bytes[i], plane), to + plane * kVectors + 64 * i); });
    });
  };
  for (std::size_t r = 0; r < padded; r += Rows) {
    std::uint8_t* to = tile + r / kGroup * group_bytes + r % kGroup / Rows * 16;
    const std::uint8_t* const first = rows + static_cast<std::ptrdiff_t>(r) * stride;
    std::size_t j = 0;
    uint8x16_t bytes[Rows];
    if (r + Rows <= n) {
      for (; j + 64 <= row_bytes; j += 64, to += 4 * kChunk) {
        for_each_index<4>([&](auto c) FRAZIL_INLINE {
          for_each_index<Rows>([&](auto i) FRAZIL_INLINE {
            const std::uint8_t* const at = first + static_cast<std::ptrdiff_t>(i) * stride + j;
            bytes[i] = load128(at + 16 * c);
          });
          store(bytes, to + c * kChunk);
        });
      }
    }
    for (; j < row_bytes; j += 16, to += kChunk) {  // the last rows, and what is left of a row
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

// What multiplies 1, 2 … queries with a group of `Group` rows, asking meanwhile for what comes next: for each 16 bytes
// of the rows as many; `lack` is what their dots begin from.
template <std::size_t Group>
using DotGroup = void(const std::uint8_t* group, std::size_t row_bytes, const std::int8_t* queries,
                      const std::int32_t* lack, std::int32_t* dots, std::size_t dots_stride, const std::int32_t* least,
                      bool* reached, Upcoming<16 * Group> upcoming);

// A tile's dots, by groups of `Group` rows and blocks of at most `Most` queries, with by_size[queries].
template <std::size_t Group, std::size_t Most, Width W, int Bias>
void dot_groups(DotGroup<Group>* const (&by_size)[Most + 1], const std::uint8_t* tile, std::size_t n,
                std::size_t row_bytes, const std::int8_t* queries, std::size_t n_queries, std::int32_t* dots,
                std::size_t dots_stride, const std::int32_t* least, bool* reached, const std::uint8_t* ahead) {
  const std::size_t group_bytes = tile_bytes(W, Group, row_bytes), query_stride = planes(W) * plane_stride(row_bytes);
  in_blocks(n_queries, Most, [&](std::size_t q, std::size_t size) {
    const Upcoming<16 * Group> upcoming(q == 0 ? ahead : nullptr, tile);
    std::int32_t lack[Most];
    for (std::size_t i = 0; i < size; ++i) {
      lack[i] = lacking<Bias, W>(queries + (q + i) * query_stride, row_bytes);
      reached[q + i] = false;
    }
    for (std::size_t r = 0; r < n; r += Group) {
      by_size[size](tile + r / Group * group_bytes, row_bytes, queries + q * query_stride, lack,
                    dots + q * dots_stride + r, dots_stride, least + q, reached + q, upcoming.after(r * row_bytes));
    }
  });
}

}  // namespace
}  // namespace frazil
