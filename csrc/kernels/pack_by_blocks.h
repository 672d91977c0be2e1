// Packing row by row in blocks of 32 dimensions, for the sets whose vectors are shorter than that. In an unnamed
// namespace: see format.h.
#pragma once

#include <cstring>

#include "../kernel_table.h"
#include "../prefetch.h"
#include "common.h"

namespace frazil {
namespace {

constexpr std::size_t kBlock = 32;  // dimensions packed at a time

// What Kernels::Pack asks for, by a set's own
//   sum_of_squares(x, dim, tail, ahead): of a row, whose last part, if it is less than a block, is in `tail`, with
//   zeros
//                                        behind it; asks for what lies `ahead`
//   steps_of(sum of squares): how far values are from the middle of the range, for pack_block
//   pack_block(x, steps, to): writes the codes of kBlock values
template <Width W, class T, class Sum, class StepsOf, class PackBlock>
FRAZIL_INLINE inline std::size_t pack_by_blocks(const std::byte* rows, std::ptrdiff_t stride, std::size_t n,
                                                std::size_t dim, std::uint8_t* out, Sum&& sum_of_squares,
                                                StepsOf&& steps_of, PackBlock&& pack_block) {
  constexpr std::size_t kBlockBytes = W == kInt4 ? kBlock / 2 : kBlock;
  const std::size_t row_bytes = W == kInt4 ? dim / 2 : dim, whole = dim / kBlock * kBlock;
  T tail[kBlock] = {};
  for (std::size_t row = 0; row < n; ++row, rows += stride, out += row_bytes) {
    const T* const x = reinterpret_cast<const T*>(rows);
    if (whole < dim) std::memcpy(tail, rows + whole * sizeof(T), (dim - whole) * sizeof(T));
    const double squares = sum_of_squares(x, dim, static_cast<const T*>(tail), kPrefetchRows * stride);
    if (!(squares >= kMinSquares && squares <= kMaxSquares)) return row;
    const auto steps = steps_of(squares);
    std::uint8_t* to = out;
    for (std::size_t i = 0; i < whole; i += kBlock, to += kBlockBytes) pack_block(x + i, steps, to);
    if (whole < dim) {
      std::uint8_t last[kBlockBytes];
      pack_block(static_cast<const T*>(tail), steps, static_cast<std::uint8_t*>(last));
      std::memcpy(to, last, row_bytes - static_cast<std::size_t>(to - out));
    }
  }
  return n;
}

}  // namespace
}  // namespace frazil
