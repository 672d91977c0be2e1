// Expanding rows of 4-bit codes a vector at a time, for the sets that look levels up by a byte shuffle. In an unnamed
// namespace: see format.h.
#pragma once

#include <cstring>

#include "../kernel_table.h"
#include "common.h"

namespace frazil {
namespace {

// What Kernels::Expand asks for, by a set's own
//   load(at), load_part(at, count): kBytes bytes of codes, or fewer and zeros behind them
//   expand_bytes(bytes, to): writes the levels of both nibbles of each, 2 * kBytes bytes
template <std::size_t kBytes, class Load, class LoadPart, class ExpandBytes>
FRAZIL_INLINE inline void expand_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n,
                                      std::size_t row_bytes, std::uint8_t* out, const Load& load,
                                      const LoadPart& load_part, const ExpandBytes& expand_bytes) {
  for (std::size_t r = 0; r < n; ++r, rows += stride, out += 2 * row_bytes) {
    std::size_t i = 0;
    for (; i + kBytes <= row_bytes; i += kBytes) expand_bytes(load(rows + i), out + 2 * i);
    if (i < row_bytes) {
      std::uint8_t last[2 * kBytes];
      expand_bytes(load_part(rows + i, row_bytes - i), static_cast<std::uint8_t*>(last));
      std::memcpy(out + 2 * i, last, 2 * (row_bytes - i));
    }
  }
}

}  // namespace
}  // namespace frazil
