// Refining rows of codes (docs/format.md §3), for the sets that have vectors of floats. Every number is an operation
// of its own lane, and the largest gain is one of integers, so that every set gives the same bits. In an unnamed
// namespace: see format.h.
//
// A set gives its vectors of floats as a struct `V`, which pack_rows.h takes, too:
//   kLanes, load, store, all(x)    of floats
//   add, sub, mul, magnitude       lane by lane, each rounded
//   where_negative(a, b, c)        b where the sign bit of a is set, else c (a zero's gains nothing)
//   first_order, next_order        a lane's kRefineIndices - 1 - i, for i = lane, and for that i + kLanes
//   key(x, order), larger, largest x's bits as integers, their lowest ones replaced by the order; maxima of integers
#pragma once

#include "../kernel_table.h"
#include "common.h"

namespace frazil {
namespace {

template <class V>
std::size_t refine_row(const Refinement& row) {
  float along = row.along;
  for (std::size_t moves = 0;; ++moves) {
    if (moves == row.most) return moves;
    const float weight = row.weight * along;
    const auto weights = V::all(weight);
    auto order = V::first_order();
    auto best = V::key(V::all(0.0f), order);
    for (std::size_t i = 0; i < row.stride; i += V::kLanes) {
      const auto slope = V::add(V::load(row.gradient + i), V::mul(weights, V::load(row.values + i)));
      const auto step = V::where_negative(slope, V::load(row.up + i), V::load(row.down + i));
      const auto twice = V::add(V::magnitude(slope), V::magnitude(slope));
      const auto gain = V::mul(step, V::sub(twice, V::mul(step, V::load(row.bend + i))));
      best = V::larger(best, V::key(gain, order));
      order = V::next_order(order);
    }
    const std::int32_t key = V::largest(best);
    if (key < kRefineIndices) return moves;
    const auto i = static_cast<std::size_t>(kRefineIndices - 1 - key % kRefineIndices);
    const float change = move_code(row, i, row.gradient[i] + weight * row.values[i]);
    along += change * row.values[i];
    if (row.metric == nullptr) {
      row.gradient[i] += change;
      continue;
    }
    const float* const column = row.metric + i * row.stride;
    const auto changes = V::all(change);
    for (std::size_t j = 0; j < row.stride; j += V::kLanes) {
      V::store(row.gradient + j, V::add(V::load(row.gradient + j), V::mul(changes, V::load(column + j))));
    }
  }
}

// R rows times kRefineAlign columns of the metric; up to 8 sums at a time are in registers.
template <class V, std::size_t R>
void metric_part(const float* metric, std::size_t stride, std::size_t dim, const float* rows, float* products) {
  constexpr std::size_t kVectors = 4;
  static_assert(kRefineAlign % (kVectors * V::kLanes) == 0);
  for (std::size_t first = 0; first < kRefineAlign; first += kVectors * V::kLanes) {
    decltype(V::all(0.0f)) sums[R * kVectors];
    for_each_index<R * kVectors>([&](auto k) FRAZIL_INLINE { sums[k] = V::all(0.0f); });
    const float* column = metric + first;
    for (std::size_t j = 0; j < dim; ++j, column += stride) {
      decltype(V::all(0.0f)) entries[kVectors];
      for_each_index<kVectors>([&](auto v) FRAZIL_INLINE { entries[v] = V::load(column + v * V::kLanes); });
      for_each_index<R>([&](auto r) FRAZIL_INLINE {
        const auto value = V::all(rows[r * stride + j]);
        for_each_index<kVectors>([&](auto v) FRAZIL_INLINE {
          sums[r * kVectors + v] = V::add(sums[r * kVectors + v], V::mul(value, entries[v]));
          FRAZIL_IN_PLACE(sums[r * kVectors + v]);
        });
      });
    }
    for_each_index<R>([&](auto r) FRAZIL_INLINE {
      for_each_index<kVectors>([&](auto v) FRAZIL_INLINE {
        V::store(products + r * stride + first + v * V::kLanes, sums[r * kVectors + v]);
      });
    });
  }
}

template <class V>
void metric_rows(const float* metric, std::size_t stride, std::size_t dim, const float* rows, std::size_t n,
                 float* products) {
  for (std::size_t part = 0; part < stride; part += kRefineAlign) {
    std::size_t r = 0;
    for (; r + 2 <= n; r += 2)
      metric_part<V, 2>(metric + part, stride, dim, rows + r * stride, products + r * stride + part);
    if (r < n) metric_part<V, 1>(metric + part, stride, dim, rows + r * stride, products + r * stride + part);
  }
}

}  // namespace
}  // namespace frazil
