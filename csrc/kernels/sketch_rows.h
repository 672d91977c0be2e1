// Sketching rows: the same plain loops for every set, which the compiler turns into its vectors. Only adding, negating
// and squaring, each number on its own, so that every set gives the same bits. In an unnamed namespace: see format.h.
#pragma once

#include "../kernel_table.h"
#include "common.h"

namespace frazil {
namespace {

constexpr std::size_t kLanes = 16;  // rows turned at a time

template <Width W>
void sketch_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, const SketchShape& shape,
                 const float* centre, float* scratch, std::uint8_t* bits, float* squares, float* sums) {
  constexpr int kLevels = W == kInt4 ? 15 : 255;
  for (std::size_t first = 0; first < kSketchRows; first += kLanes) {
    float* const x = scratch;
    float square[kLanes] = {}, sum[kLanes] = {};
    const std::size_t here = first < n ? smaller(kLanes, n - first) : 0;
    for (std::size_t i = shape.dim; i < shape.bits; ++i) {
      for (std::size_t l = 0; l < kLanes; ++l) x[i * kLanes + l] = 0;
    }
    for (std::size_t l = 0; l < kLanes; ++l) {
      if (l < here) {
        const std::uint8_t* const row = rows + static_cast<std::ptrdiff_t>(first + l) * stride;
        for (std::size_t i = 0; i < shape.dim; ++i) {
          x[i * kLanes + l] = static_cast<float>(2 * code_at<W>(row, i) - kLevels) - centre[i];
        }
      } else {
        for (std::size_t i = 0; i < shape.dim; ++i) x[i * kLanes + l] = 0;
      }
    }
    for (std::size_t i = 0; i < shape.dim; ++i) {
      for (std::size_t l = 0; l < kLanes; ++l) {
        const float value = x[i * kLanes + l], product = value * value;
        square[l] = square[l] + product;
      }
    }
    const float* const z = turn<kLanes>(shape, x, scratch + shape.bits * kLanes);
    for (std::size_t j = 0; j < shape.bytes(); ++j) {
      int byte[kLanes] = {};
      for (std::size_t k = 0; k < 8; ++k) {
        const float* const at = z + (8 * j + k) * kLanes;
        for (std::size_t l = 0; l < kLanes; ++l) {
          byte[l] |= (at[l] >= 0 ? 1 : 0) << k;
          sum[l] = sum[l] + (at[l] >= 0 ? at[l] : -at[l]);
        }
      }
      for (std::size_t l = 0; l < kLanes; ++l) {
        bits[j * kSketchRows + first + l] = static_cast<std::uint8_t>(l < here ? byte[l] : 0);
      }
    }
    for (std::size_t l = 0; l < kLanes; ++l) {
      squares[first + l] = square[l];
      sums[first + l] = sum[l];
    }
  }
}

}  // namespace
}  // namespace frazil
