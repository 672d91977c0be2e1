// Packing rows of floats in blocks of dimensions. In an unnamed namespace: see format.h.
#pragma once

#include <cmath>
#include <cstring>
#include <type_traits>

#include "../kernel_table.h"
#include "common.h"
#include "upcoming.h"

namespace frazil {
namespace {

constexpr std::size_t kSums = 32;  // partial sums of squares; so many values are widened and squared at a time

// 16-bit floats are widened before they are packed, since packing reads each value twice.
template <class T>
constexpr bool kIsWidened = sizeof(T) == 2;
template <class T>
using Packed = std::conditional_t<kIsWidened<T>, float, T>;

// Where a row of T is widened to; nothing if it is not.
template <class T>
struct Widened {
  alignas(64) float values[kIsWidened<T> ? kMaxDim : 1];
};

// What rounding a scale to float leaves out (docs/format.md §3).
float low_part(double scale) { return static_cast<float>(scale - static_cast<double>(static_cast<float>(scale))); }

// The whole steps of V::kLanes values from the middle of the range (docs/format.md §3).
template <class V, Width W, class Value>
struct Steps {
  decltype(V::all(0.0f)) high, low;
  explicit Steps(double scale) : high(V::all(static_cast<float>(scale))), low(V::all(low_part(scale))) {}
  FRAZIL_INLINE auto operator()(const float* at) const {
    const auto x = V::load(at), half = V::all(0.5f), steps = V::mul(x, high);
    if constexpr (W == kInt4) {
      return V::rounded(V::sub(steps, half));
    } else {
      return V::rounded(V::add(steps, V::sub(V::mul(x, low), half)));
    }
  }
};
template <class V, Width W>
struct Steps<V, W, double> {
  decltype(V::all(0.0)) scale;
  explicit Steps(double s) : scale(V::all(s)) {}
  FRAZIL_INLINE auto operator()(const double* at) const {
    const auto steps = [&](const double* x) FRAZIL_INLINE { return V::sub(V::mul(V::load(x), scale), V::all(0.5)); };
    return V::rounded(steps(at), steps(at + V::kLanes / 2));
  }
};

// What Kernels::Pack asks for, by a Set's
//   kBlock: of so many dimensions it makes a vector of codes
//   widen(x, to): kSums values of 16 bits as floats
//   sum_of_squares(each): of a row; each(add, asking) calls add with where each kSums of its values are, asking for
//                         what comes next or not
//   pack_blocks<W, N>(x, steps, to): writes the codes of N * kBlock values, N being 1 or 2
// and by its Floats, a struct V of operations on vectors of floats and doubles:
//   kLanes, load, all(x), add, sub, mul    of floats, as in refine_rows.h; of doubles half as many
//   rounded(x), rounded(first, second)     to 32-bit integers, those halfway to even ones: floats, two of doubles
// A row is measured before the one that precedes it is packed: its square root and division, which nothing else of the
// row can go on without, are then done beside other work.
template <class Set, Width W, class T>
std::size_t pack(const std::byte* rows, std::ptrdiff_t stride, std::size_t n, std::size_t dim, double steps_per_unit,
                 std::uint8_t* out, const RowsAhead& ahead) {
  using Value = Packed<T>;
  constexpr std::size_t kBlock = Set::kBlock, kBlockBytes = W == kInt4 ? kBlock / 2 : kBlock;
  const std::size_t row_bytes = W == kInt4 ? dim / 2 : dim;
  // What does not fill a vector is copied to a tail, with zeros behind it.
  constexpr std::size_t kTail = kBlock > kSums ? kBlock : kSums;
  const std::size_t whole = dim / kTail * kTail, packed = dim / kBlock * kBlock, squared = dim / kSums * kSums;
  UpcomingFloats<kSums * sizeof(T)> upcoming(ahead, stride);
  Widened<T> wide[2];
  T tails[2][kTail] = {};
  struct Row {
    const Value *x, *tail;
    double squares, scale;
  };
  const auto measure = [&](std::size_t number) FRAZIL_INLINE {
    const std::byte* const row_at = rows + static_cast<std::ptrdiff_t>(number) * stride;
    const T* const from = reinterpret_cast<const T*>(row_at);  // of any alignment
    T* const tail = tails[number % 2];
    if (whole < dim) std::memcpy(tail, row_at + whole * sizeof(T), (dim - whole) * sizeof(T));
    upcoming.begin_row(from);
    Row row;
    if constexpr (kIsWidened<T>) {
      float* const to = wide[number % 2].values;
      for (std::size_t i = 0; i < whole; i += kSums) Set::widen(from + i, to + i);
      for (std::size_t i = 0; whole < dim && i < kTail; i += kSums) Set::widen(tail + i, to + whole + i);
      row = {to, to + whole, 0, 0};
    } else {
      row = {from, tail, 0, 0};
    }
    row.squares = Set::sum_of_squares([&](auto&& add, bool asking) FRAZIL_INLINE {
      for (std::size_t i = 0; i < squared; i += kSums) {
        if (asking) upcoming.ask();
        add(row.x + i);
      }
      if (squared < dim) add(row.tail + (squared - whole));
    });
    row.scale = steps_per_unit / std::sqrt(row.squares);
    return row;
  };
  Row next{};
  if (n > 0) next = measure(0);
  for (std::size_t number = 0; number < n; ++number, out += row_bytes) {
    const Row row = next;
    if (number + 1 < n) next = measure(number + 1);
    if (!(row.squares >= kMinSquares && row.squares <= kMaxSquares)) return number;
    const Steps<typename Set::Floats, W, Value> steps(row.scale);
    in_blocks_of<2, 1>(dim / kBlock, [&](std::size_t first, auto count) FRAZIL_INLINE {
      Set::template pack_blocks<W, count>(row.x + first * kBlock, steps, out + first * kBlockBytes);
    });
    if (packed < dim) {
      const std::size_t before = packed / kBlock * kBlockBytes;
      std::uint8_t last[kBlockBytes];
      Set::template pack_blocks<W, 1>(row.tail + (packed - whole), steps, static_cast<std::uint8_t*>(last));
      std::memcpy(out + before, last, row_bytes - before);
    }
  }
  return n;
}

}  // namespace
}  // namespace frazil
