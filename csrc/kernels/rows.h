// A few queries against rows where they lie, for the sets that get a row's products with a query in lanes, to be
// summed. In an unnamed namespace: see format.h.
//
// A set gives its vectors as a struct `V`:
//   kLanes                of 32 bits
//   zero, store
//   sum_each(v[kLanes])   lane l of the result is the sum of the lanes of v[l]
#pragma once

#include <cstring>

#include "../kernel_table.h"
#include "../prefetch.h"
#include "common.h"

namespace frazil {
namespace {

// Fills dots[q * dots_stride + i] for the rows at row_at(i), kLanes rows at a time: dot_row(row, row_bytes, ahead,
// sums) gives a row's products with each of Q queries, and asks for what lies `ahead` line by line: all lines at once
// are partly dropped.
template <class V, std::size_t Q, class DotRow, class RowAt, class Bytes>
FRAZIL_INLINE inline void some_rows_at_a_time(DotRow&& dot_row, RowAt&& row_at, const Ahead& ahead, std::size_t n,
                                              Bytes row_bytes, std::int32_t* dots, std::size_t dots_stride) {
  for (std::size_t r = 0; r < n; r += V::kLanes) {
    const std::size_t here = smaller(V::kLanes, n - r);
    decltype(V::zero()) sums[Q][V::kLanes];
    for (std::size_t i = 0; i < V::kLanes; ++i) {
      decltype(V::zero()) of[Q];
      dot_row(row_at(r + smaller(i, here - 1)), row_bytes, ahead, of);
      for_each_index<Q>([&](auto q) FRAZIL_INLINE { sums[q][i] = of[q]; });
    }
    for_each_index<Q>([&](auto q) FRAZIL_INLINE {
      const auto totals = V::sum_each(sums[q]);
      std::int32_t* const to = dots + q * dots_stride + r;
      if (here == V::kLanes) {
        V::store(to, totals);
      } else {
        std::int32_t last[V::kLanes];
        V::store(last, totals);
        std::memcpy(to, last, here * sizeof(std::int32_t));
      }
    });
  }
}

// The usual widths are compiled as constants.
template <class V, std::size_t Q, class DotRow, class RowAt>
void dot_rows_by(DotRow&& dot_row, RowAt&& row_at, const Ahead& ahead, std::size_t n, std::size_t row_bytes,
                 std::int32_t* dots, std::size_t dots_stride) {
  if (row_bytes == 128) {
    constexpr std::integral_constant<std::size_t, 128> kBytes{};
    some_rows_at_a_time<V, Q>(dot_row, row_at, ahead, n, kBytes, dots, dots_stride);
  } else if (row_bytes == 256) {
    constexpr std::integral_constant<std::size_t, 256> kBytes{};
    some_rows_at_a_time<V, Q>(dot_row, row_at, ahead, n, kBytes, dots, dots_stride);
  } else {
    some_rows_at_a_time<V, Q>(dot_row, row_at, ahead, n, row_bytes, dots, dots_stride);
  }
}

// Calls fn(row_at), for rows `stride` bytes apart.
template <class Fn>
FRAZIL_INLINE inline void with_rows(const std::uint8_t* rows, std::ptrdiff_t stride, Fn&& fn) {
  fn([=](std::size_t i) FRAZIL_INLINE { return rows + static_cast<std::ptrdiff_t>(i) * stride; });
}

// Calls fn(row_at), for the n rows picked, asking for the lines of later ones.
template <class Fn>
FRAZIL_INLINE inline void with_picked(const std::uint8_t* rows, std::ptrdiff_t stride, const std::uint32_t* picked,
                                      std::size_t n, std::size_t row_bytes, Fn&& fn) {
  fn([=](std::size_t i) FRAZIL_INLINE {
    prefetch(rows + static_cast<std::ptrdiff_t>(picked[smaller(i + kPrefetchPicked, n - 1)]) * stride, row_bytes);
    return rows + static_cast<std::ptrdiff_t>(picked[i]) * stride;
  });
}

}  // namespace
}  // namespace frazil
