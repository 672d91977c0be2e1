// Scores of a block of rows that fits into the cache, for a few or many queries: what `score` writes out and `search`
// sifts.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "../kernel_table.h"
#include "../parallel.h"
#include "../prefetch.h"
#include "ahead.h"
#include "arrays.h"
#include "lines.h"
#include "queries.h"

namespace frazil {

// Codes read, times queries, worth waking a thread for: fewer are done before it has woken.
inline constexpr std::size_t kBytesPerThread = std::size_t{1} << 19;

// Rows of a block: about 8 KB of codes, or of what they are expanded to, and a multiple of every instruction set's tile
// group. The tile, twice as large, then stays in the first-level cache.
inline std::size_t block_rows(const Format& format) {
  return std::clamp<std::size_t>(8192 / format.expanded().row_bytes() / 64 * 64, 64, 1024);
}

// Computes integer dots of queries with blocks of rows. One per thread.
class BlockDots {
 public:
  BlockDots(const Kernels& kernels, const Format& format)
      : kernels_(kernels),
        format_(format),
        ahead_(block_rows(format) * format.row_bytes()),
        reached_(std::make_unique<bool[]>(kernels.tiles->at_once)) {}

  // Calls fn(q, dots) for the queries first … last - 1, in order; dots[r] is for row r < n of the block. A query none
  // of whose dots is at least least[q - first] may be left out. `more`: the rows after these are likely to be next.
  template <class Fn>
  void each(const Queries& queries, std::size_t first, std::size_t last, const std::uint8_t* rows,
            std::ptrdiff_t stride, std::size_t n, bool more, const std::int32_t* least, Fn&& fn) {
    const std::size_t row_bytes = format_.row_bytes();
    const TileKernels& tiles = *kernels_.tiles;
    if (last - first < tiles.queries) {
      const std::size_t dots_stride = (n + kAlign - 1) / kAlign * kAlign;
      dots_.resize((last - first) * dots_stride);
      const Ahead ahead = more ? asked_for(row_bytes, stride) : Ahead{};
      parallel::checkpoint();
      kernels_.dot_rows[format_.width](rows, stride, n, row_bytes, queries.integer(first), last - first, dots_.data(),
                                       dots_stride, ahead);
      for (std::size_t q = first; q < last; ++q) fn(q, dots_.data() + (q - first) * dots_stride);
      return;
    }
    const std::size_t padded = (n + tiles.group - 1) / tiles.group * tiles.group;
    tile_.resize(tiles.bytes(format_.width, padded, row_bytes));
    const std::size_t most = std::min(tiles.at_once, last - first);
    dots_.resize(most * padded);
    tiles.load[format_.width](rows, stride, n, row_bytes, tile_.data());
    more = more && stride == static_cast<std::ptrdiff_t>(row_bytes);
    const std::uint8_t* coming = more ? rows + n * row_bytes : nullptr;  // while the first queries are multiplied
    for (std::size_t begin = first; begin < last; begin += most) {
      const std::size_t end = std::min(last, begin + most);
      parallel::checkpoint();
      tiles.dot[format_.width](tile_.data(), n, row_bytes, queries.integer(begin), end - begin, queries.span,
                               dots_.data(), padded, least + (begin - first), reached_.get(), coming);
      coming = nullptr;
      for (std::size_t q = begin; q < end; ++q) {
        if (reached_[q - begin]) fn(q, dots_.data() + (q - begin) * padded);
      }
    }
  }

 private:
  Ahead asked_for(std::size_t row_bytes, std::ptrdiff_t stride) {
    Ahead::Way way = ahead_.next();
    if (way == Ahead::kSpread && stride != static_cast<std::ptrdiff_t>(row_bytes)) way = Ahead::kInOrder;
    return {way, static_cast<std::ptrdiff_t>((kPrefetchBytes + row_bytes - 1) / row_bytes) * stride};
  }

  const Kernels& kernels_;
  const Format& format_;
  static constexpr std::size_t kAlign = 16;  // dots in a cache line

  AheadTrial ahead_;
  Lines<std::uint8_t> tile_;
  Lines<std::int32_t> dots_;
  std::unique_ptr<bool[]> reached_;  // of queries scored at a time
};

}  // namespace frazil
