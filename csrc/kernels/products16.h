// Products of bytes that are summed up in 16 bits, with saturation (vpmaddubsw: pairs of u8 x s8): 16 products of at
// most 15 * 127 fit, two of 255 * 127 would not. One of the factors is therefore taken apart where codes, or what they
// stand for, have 8 bits: of queries against rows where they lie the entries, since that is done once for all rows; of
// tiles the rows, since that is done once for all queries. In an unnamed namespace: see format.h.
//
// A set gives its vectors as a struct `V`, besides what rows.h asks for:
//   kInPairs<W>                    whether two queries share taking a row apart: if their sums fit into registers
//   load, load_bytes(at, n)        a vector; one of the first n bytes and zeros
//   split<W>(bytes, plane)         what a plane holds of a row's bytes
//   multiply(levels, entries)      pairs of products, in 16 bits
//   add16, add32                   lane by lane
//   widen(sums16)                  pairs of 16-bit sums, in 32 bits
//   times16                        of 32 bits
#pragma once

#include "rows.h"

namespace frazil {
namespace {

// Of a tile: how many nibbles its rows are taken apart into, and how many planes it has of these: those of codes of 4
// bits, by the row's planes; or, of 8 bits, the high ones of all planes, then the low ones.
constexpr std::size_t nibbles(Width width) { return width == kInt4 ? 1 : 2; }
constexpr std::size_t tile_planes(Width width) { return nibbles(width) * planes(width); }

// The high and the low nibbles of normal levels.
struct NormalNibbles {
  std::uint8_t of[2][16];
};
constexpr NormalNibbles kNormalNibbles = [] {
  NormalNibbles all{};
  for (std::size_t code = 0; code < 16; ++code) {
    all.of[0][code] = kNormalLevels[code] >> 4;
    all.of[1][code] = kNormalLevels[code] & 15;
  }
  return all;
}();

// A query's entries by planes. Where rows hold 8 bits, each is taken apart, as 16 * high + low, both from -8 to 8: 8
// sums of two products of 255 * 8 fit into 16 bits. Else they are `low`, as they are.
struct SplitEntries {
  const std::int8_t *low[2], *high[2];
};

template <Width W>
class SplitQuery {
 public:
  SplitQuery() = default;
  SplitQuery(const SplitQuery&) = delete;
  SplitQuery& operator=(const SplitQuery&) = delete;

  // The entries stay valid as long as this object and the query do.
  SplitEntries split(const std::int8_t* query, std::size_t row_bytes) {
    const std::size_t stride = plane_stride(row_bytes);
    SplitEntries entries{};
    if constexpr (W == kInt4) {
      entries.low[0] = query;
      entries.low[1] = query + stride;
    } else {
      for (std::size_t i = 0; i < planes(W) * stride; ++i) {
        const int high = (query[i] + 8) >> 4;
        high_[i] = static_cast<std::int8_t>(high);
        low_[i] = static_cast<std::int8_t>(query[i] - 16 * high);
      }
      for (std::size_t plane = 0; plane < planes(W); ++plane) {
        entries.low[plane] = low_ + plane * stride;
        entries.high[plane] = high_ + plane * stride;
      }
    }
    return entries;
  }

 private:
  std::int8_t low_[W == kInt4 ? 1 : kMaxDim], high_[W == kInt4 ? 1 : kMaxDim];
};

// The products of one row with each of Q queries, in lanes to be summed.
template <class V, Width W, std::size_t Q>
FRAZIL_INLINE inline void dot_row(const std::uint8_t* row, std::size_t row_bytes, const Ahead& ahead,
                                  const SplitEntries (&queries)[Q], decltype(V::zero()) (&sums)[Q]) {
  using Vector = decltype(V::zero());
  constexpr std::size_t kBytes = 4 * V::kLanes, kPlanes = planes(W);
  constexpr std::size_t kTogether = kBytes * 8 / kPlanes;  // of which 8 products of pairs go into a 16-bit lane
  const auto add = [](Vector& sum, Vector levels, const std::int8_t* entries)
                       FRAZIL_INLINE { sum = V::add16(sum, V::multiply(levels, V::load(entries))); };
  const auto join = [](const Vector(&parts)[kPlanes]) FRAZIL_INLINE {
    if constexpr (kPlanes == 1)
      return V::widen(parts[0]);
    else
      return V::widen(V::add16(parts[0], parts[1]));
  };
  for_each_index<Q>([&](auto q) FRAZIL_INLINE { sums[q] = V::zero(); });
  for (std::size_t j = 0; j < row_bytes; j += kTogether) {
    Vector high[Q][kPlanes], low[Q][kPlanes];
    for_each_index<Q>([&](auto q) FRAZIL_INLINE {
      for_each_index<kPlanes>([&](auto plane) FRAZIL_INLINE { high[q][plane] = low[q][plane] = V::zero(); });
    });
    const std::size_t end = smaller(row_bytes, j + kTogether);
    for (std::size_t i = j; i < end; i += kBytes) {
      if (i % 64 == 0) ask(ahead, row + i, 1);
      const Vector bytes = V::load_bytes(row + i, row_bytes - i);
      for_each_index<kPlanes>([&](auto plane) FRAZIL_INLINE {
        const Vector levels = V::template split<W>(bytes, plane);
        for_each_index<Q>([&](auto q) FRAZIL_INLINE {
          if constexpr (W != kInt4) add(high[q][plane], levels, queries[q].high[plane] + i);
          add(low[q][plane], levels, queries[q].low[plane] + i);
        });
      });
    }
    for_each_index<Q>([&](auto q) FRAZIL_INLINE {
      sums[q] = V::add32(sums[q], join(low[q]));
      if constexpr (W != kInt4) sums[q] = V::add32(sums[q], V::times16(join(high[q])));
    });
  }
}

template <class V, Width W>
void dot_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
              const std::int8_t* queries, std::size_t n_queries, std::int32_t* dots, std::size_t dots_stride,
              const Ahead& ahead) {
  const auto block = [&](std::size_t q, auto count) FRAZIL_INLINE {
    SplitQuery<W> split[count];
    SplitEntries entries[count];
    for_each_index<count>([&](auto i) FRAZIL_INLINE {
      entries[i] = split[i].split(queries + (q + i) * planes(W) * plane_stride(row_bytes), row_bytes);
    });
    const auto one = [&](const std::uint8_t* row, auto bytes, const Ahead& there, auto& sums)
                         FRAZIL_INLINE { dot_row<V, W>(row, bytes, there, entries, sums); };
    with_rows(rows, stride, [&](auto at) FRAZIL_INLINE {
      dot_rows_by<V, count>(one, at, q == 0 ? ahead : Ahead{}, n, row_bytes, dots + q * dots_stride, dots_stride);
    });
  };
  if constexpr (V::template kInPairs<W>) {
    in_blocks_of<2, 1>(n_queries, block);
  } else {
    in_blocks_of<1>(n_queries, block);
  }
}

template <class V, Width W>
void dot_picked(const std::uint8_t* rows, std::ptrdiff_t stride, const std::uint32_t* picked, std::size_t n,
                std::size_t row_bytes, const std::int8_t* query, std::int32_t* dots) {
  SplitQuery<W> split;
  const SplitEntries entries[1] = {split.split(query, row_bytes)};
  const auto one = [&](const std::uint8_t* row, auto bytes, const Ahead& ahead, auto& sums)
                       FRAZIL_INLINE { dot_row<V, W>(row, bytes, ahead, entries, sums); };
  with_picked(rows, stride, picked, n, row_bytes,
              [&](auto at) FRAZIL_INLINE { dot_rows_by<V, 1>(one, at, {}, n, row_bytes, dots, n); });
}

}  // namespace
}  // namespace frazil
