// Packing row by row in blocks of 32 dimensions, for the sets whose vectors are shorter than that. In an unnamed
// namespace: see format.h.
#pragma once

#include <cstring>

#include "../kernel_table.h"
#include "common.h"
#include "upcoming.h"
#include "widened.h"

namespace frazil {
namespace {

constexpr std::size_t kBlock = 32;  // dimensions packed at a time

// What Kernels::Pack asks for, by a set's own
//   widen_block(x, to): kBlock values of 16 bits as floats
//   sum_of_squares(x, dim, tail, upcoming): of a row, whose last part, if it is less than a block, is in `tail`, with
//                                           zeros behind it
//   steps_of(sum of squares): how far values are from the middle of the range, for pack_block
//   pack_block(x, steps, to): writes the codes of kBlock values
template <Width W, class T, class WidenBlock, class Sum, class StepsOf, class PackBlock>
FRAZIL_INLINE inline std::size_t pack_by_blocks(const std::byte* rows, std::ptrdiff_t stride, std::size_t n,
                                                std::size_t dim, std::uint8_t* out, const RowsAhead& ahead,
                                                WidenBlock&& widen_block, Sum&& sum_of_squares, StepsOf&& steps_of,
                                                PackBlock&& pack_block) {
  using Value = Packed<T>;
  constexpr std::size_t kBlockBytes = W == kInt4 ? kBlock / 2 : kBlock;
  const std::size_t row_bytes = W == kInt4 ? dim / 2 : dim, whole = dim / kBlock * kBlock;
  UpcomingFloats upcoming(ahead, rows, stride), nothing({}, rows, stride);
  Widened<T> wide;
  T tail[kBlock] = {};
  for (std::size_t row = 0; row < n; ++row, rows += stride, out += row_bytes) {
    const T* const from = reinterpret_cast<const T*>(rows);
    if (whole < dim) std::memcpy(tail, from + whole, (dim - whole) * sizeof(T));
    upcoming.begin_row(from);
    const Value *x, *last_part;
    if constexpr (kIsWidened<T>) {
      for (std::size_t i = 0; i < whole; i += kBlock) {
        upcoming.ask(from + i, kBlock * sizeof(T));
        widen_block(from + i, wide.values + i);
      }
      if (whole < dim) widen_block(static_cast<const T*>(tail), wide.values + whole);
      x = wide.values;
      last_part = wide.values + whole;
    } else {
      x = from;
      last_part = tail;
    }
    const double squares = sum_of_squares(x, dim, last_part, kIsWidened<T> ? nothing : upcoming);
    if (!(squares >= kMinSquares && squares <= kMaxSquares)) return row;
    const auto steps = steps_of(squares);
    std::uint8_t* to = out;
    for (std::size_t i = 0; i < whole; i += kBlock, to += kBlockBytes) pack_block(x + i, steps, to);
    if (whole < dim) {
      std::uint8_t last[kBlockBytes];
      pack_block(last_part, steps, static_cast<std::uint8_t*>(last));
      std::memcpy(to, last, row_bytes - static_cast<std::size_t>(to - out));
    }
  }
  return n;
}

}  // namespace
}  // namespace frazil
