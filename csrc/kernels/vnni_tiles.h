// Tiles of the sets that sum four u8 x s8 products up into each 32-bit lane. In an unnamed namespace: see format.h.
//
// A set gives its vectors as a struct `V`:
//   kLanes                         of 32 bits
//   load, store, all(entries)      of vectors; one of the same 32 bits in every lane
//   dot(sums, codes, entries)      adds products
//   larger, reaches(a, least)      lane by lane; whether any lane is at least as large
#pragma once

#include "../kernel_table.h"
#include "common.h"
#include "upcoming.h"

namespace frazil {
namespace {

// A tile is groups of so many rows. In a group, for each plane and each four bytes of a row: 2 vectors of kLanes rows x
// 4 codes.
template <class V>
constexpr std::size_t kGroupOf = 2 * V::kLanes;

std::size_t tile_bytes(Width width, std::size_t rows, std::size_t row_bytes) {
  return rows * planes(width) * tile_steps(row_bytes) * 4;
}

// Bytes of the rows after these to ask for in each step: all of a group's in all of its steps.
template <class V, Width W>
using UpcomingRows = Upcoming<kGroupOf<V> * 4 / planes(W)>;

// Q queries against a group: 2Q sums in registers, each query's four bytes broadcast from memory.
template <class V, Width W, std::size_t Q>
void dot_group(const std::uint8_t* group, std::size_t row_bytes, const std::int8_t* queries, std::int32_t* dots,
               std::size_t dots_stride, const std::int32_t* least, bool* reached, UpcomingRows<V, W> upcoming) {
  constexpr std::size_t kVectorBytes = 4 * V::kLanes;
  const std::size_t steps = tile_steps(row_bytes), query_stride = planes(W) * plane_stride(row_bytes);
  decltype(V::all(0)) sums[Q * 2];
  for_each_index<Q * 2>([&](auto i) FRAZIL_INLINE { sums[i] = V::all(0); });
  for (std::size_t plane = 0; plane < planes(W); ++plane, queries += plane_stride(row_bytes)) {
    for (std::size_t step = 0; step < steps; ++step, group += 2 * kVectorBytes) {
      upcoming.ask();
      decltype(V::all(0)) rows[2] = {V::load(group), V::load(group + kVectorBytes)};
      FRAZIL_IN_PLACE(rows[0]);  // GCC 12 else loads them again for each of 2 or 3 queries
      FRAZIL_IN_PLACE(rows[1]);
      for_each_index<Q>([&](auto q) FRAZIL_INLINE {
        const auto four = V::all(four_entries(queries + q * query_stride + 4 * step));
        for_each_index<2>([&](auto h) FRAZIL_INLINE {
          sums[2 * q + h] = V::dot(sums[2 * q + h], rows[h], four);
          FRAZIL_IN_PLACE(sums[2 * q + h]);
        });
      });
    }
  }
  for_each_index<Q>([&](auto q) FRAZIL_INLINE {
    V::store(dots + q * dots_stride, sums[2 * q]);
    V::store(dots + q * dots_stride + V::kLanes, sums[2 * q + 1]);
    if (V::reaches(V::larger(sums[2 * q], sums[2 * q + 1]), least[q])) reached[q] = true;
  });
}

// By the number of queries, less 1.
template <class V, Width W, class Numbers>
struct DotGroups;
template <class V, Width W, std::size_t... I>
struct DotGroups<V, W, std::index_sequence<I...>> {
  static constexpr decltype(&dot_group<V, W, 1>) kBySize[] = {dot_group<V, W, I + 1>...};
};

// Blocks of at most `Most` queries: as many as have their sums, two vectors of rows and one broadcast in registers.
// What is for kInt4 is for kNormal4, too: in a tile both are two planes of bytes.
template <class V, Width W, std::size_t Most>
void dot_tile(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
              std::size_t n_queries, std::size_t, std::int32_t* dots, std::size_t dots_stride,
              const std::int32_t* least, bool* reached, const std::uint8_t* ahead) {
  constexpr std::size_t kRows = kGroupOf<V>;
  constexpr auto& kBySize = DotGroups<V, W, std::make_index_sequence<Most>>::kBySize;
  const std::size_t group_bytes = tile_bytes(W, kRows, row_bytes), query_stride = planes(W) * plane_stride(row_bytes);
  for (std::size_t q = 0; q < n_queries; q += Most) {
    const std::size_t block = smaller(Most, n_queries - q);
    const UpcomingRows<V, W> upcoming(q == 0 ? ahead : nullptr, tile);
    for (std::size_t i = q; i < q + block; ++i) reached[i] = false;
    for (std::size_t r = 0; r < n; r += kRows) {
      kBySize[block - 1](tile + r / kRows * group_bytes, row_bytes, queries + q * query_stride,
                         dots + q * dots_stride + r, dots_stride, least + q, reached + q,
                         upcoming.after(r * row_bytes));
    }
  }
}

}  // namespace
}  // namespace frazil
