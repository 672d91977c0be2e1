// What the sets of x86 share of scanning sketches: summing up a query's entries, and the bounds that follow from the
// sums. In an unnamed namespace: see format.h.
//
// A set gives its vectors as a struct `V`:
//   zero, load, low_nibbles, high_nibbles, add8
//   add16, sub16, left, right   of 16-bit lanes; left and right shift each by 8
//   all, add, multiply, larger  of floats
#pragma once

#include "../kernel_table.h"
#include "../prefetch.h"
#include "common.h"

namespace frazil {
namespace {

// Sums of entries of as many rows as a vector has bytes; `all`: of even rows + 256 * those of odd ones, `odd`: of odd
// rows.
template <class V>
struct SketchSums {
  decltype(V::zero()) all, odd;

  FRAZIL_INLINE auto even() const { return V::sub16(all, V::left(odd)); }
};

// The tables of queries where they lie: V::look_up takes 16 bytes.
template <class V>
struct NarrowTables {
  FRAZIL_INLINE auto look_up(std::size_t i, std::size_t q, decltype(V::zero()) codes) const {
    return V::look_up(queries[q].tables + i * kTableEntries, codes);
  }

  const SketchQuery* queries;
};

// Of Q queries, which share what it takes to bring a block's bits in place; tables.look_up(i, q, codes) looks up in the
// query's i-th.
template <class V, std::size_t Q, class Tables>
FRAZIL_INLINE inline void sketch_sums(const std::uint8_t* at, std::size_t bytes, const Tables& tables,
                                      const Ahead& ahead, SketchSums<V> (&sums)[Q]) {
  using Vector = decltype(V::zero());
  Vector all[Q], odd[Q];
  for_each_index<Q>([&](auto q) FRAZIL_INLINE { all[q] = odd[q] = V::zero(); });
  for (std::size_t j = 0; j < bytes; j += 4) {
    Vector eight[Q];  // entries, at most 8 * 31: they fit into bytes
    for_each_index<Q>([&](auto q) FRAZIL_INLINE { eight[q] = V::zero(); });
    for_each_index<4>([&](auto t) FRAZIL_INLINE {
      ask(ahead, at + t * kSketchRows, 1);
      const Vector codes = V::load(at + t * kSketchRows);
      const Vector low = V::low_nibbles(codes), high = V::high_nibbles(codes);
      for_each_index<Q>([&](auto q) FRAZIL_INLINE {
        const std::size_t table = 2 * (j + t);
        const Vector two = V::add8(tables.look_up(table, q, low), tables.look_up(table + 1, q, high));
        eight[q] = V::add8(eight[q], two);
        FRAZIL_IN_PLACE(eight[q]);
      });
    });
    at += 4 * kSketchRows;
    for_each_index<Q>([&](auto q) FRAZIL_INLINE {
      all[q] = V::add16(all[q], eight[q]);
      odd[q] = V::add16(odd[q], V::right(eight[q]));
    });
  }
  for_each_index<Q>([&](auto q) FRAZIL_INLINE { sums[q] = {all[q], odd[q]}; });
}

// The bounds of rows, from their sums, factors and errors: each step rounded to float (kernel_table.h).
template <class V, class Floats>
FRAZIL_INLINE inline Floats sketch_bounds(Floats sum, Floats factor, Floats error, const SketchQuery& query) {
  const Floats line = V::add(V::multiply(sum, V::all(query.slope)), V::all(query.offset));
  const Floats width = V::add(V::multiply(error, V::all(query.width)), V::all(query.base));
  return V::add(V::multiply(V::larger(line, V::multiply(line, V::all(query.below))), factor), width);
}

}  // namespace
}  // namespace frazil
