// Sketching rows: the same plain loops for every set, which the compiler turns into its vectors. Only adding, negating
// and squaring, each number on its own, so that every set gives the same bits. In an unnamed namespace: see format.h.
#pragma once

#include "../kernel_table.h"
#include "common.h"

namespace frazil {
namespace {

constexpr std::size_t kLanes = 16;  // rows turned at a time

// Puts n rows, less the centre, side by side: x[i * kLanes + l] is dimension i of row l; of rows from n on, zeros.
template <Width W>
void centred_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, const SketchShape& shape,
                  const float* centre, float* x) {
  constexpr int kLevels = W == kInt4 ? 15 : 255;
  constexpr std::size_t kPart = 64;  // bytes of each row, transposed first: the rest is plain arithmetic on lanes
  const std::size_t row_bytes = W == kInt4 ? shape.dim / 2 : shape.dim;
  for (std::size_t i = shape.dim * kLanes; i < shape.bits * kLanes; ++i) x[i] = 0;
  for (std::size_t j = 0; j < row_bytes; j += kPart) {
    std::uint8_t part[kPart * kLanes] = {};
    const std::size_t here = smaller(kPart, row_bytes - j);
    for (std::size_t l = 0; l < n; ++l) {
      const std::uint8_t* const row = rows + static_cast<std::ptrdiff_t>(l) * stride + j;
      for (std::size_t b = 0; b < here; ++b) part[b * kLanes + l] = row[b];
    }
    for (std::size_t b = 0; b < here; ++b) {
      for (std::size_t plane = 0; plane < planes(W); ++plane) {
        const std::size_t i = planes(W) * (j + b) + plane;
        const int shift = W == kInt4 && plane == 0 ? 4 : 0;
        float* const to = x + i * kLanes;
        const float middle = centre[i];
        for (std::size_t l = 0; l < kLanes; ++l) {
          const int code = (part[b * kLanes + l] >> shift) & kLevels;
          to[l] = static_cast<float>(2 * code - kLevels) - middle;
        }
      }
    }
  }
  for (std::size_t l = n; l < kLanes; ++l) {
    for (std::size_t i = 0; i < shape.dim; ++i) x[i * kLanes + l] = 0;
  }
}

template <Width W>
void sketch_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, const SketchShape& shape,
                 const float* centre, float* scratch, std::uint8_t* bits, float* squares, float* sums) {
  for (std::size_t first = 0; first < kSketchRows; first += kLanes) {
    float* const x = scratch;
    float square[kLanes] = {}, sum[kLanes] = {};
    const std::size_t here = first < n ? smaller(kLanes, n - first) : 0;
    centred_rows<W>(rows + static_cast<std::ptrdiff_t>(first) * stride, stride, here, shape, centre, x);
    for (std::size_t i = 0; i < shape.dim; ++i) {
      for (std::size_t l = 0; l < kLanes; ++l) {
        const float value = x[i * kLanes + l], product = value * value;
        square[l] = square[l] + product;
      }
    }
    const float* const z = turn<kLanes>(shape, x, scratch + shape.bits * kLanes);
    for (std::size_t j = 0; j < shape.bytes(); ++j) {
      std::uint8_t* const to = bits + j * kSketchRows + first;
      std::int32_t byte[kLanes] = {};
      for (std::size_t k = 0; k < 8; ++k) {
        const float* const at = z + (8 * j + k) * kLanes;
        for (std::size_t l = 0; l < kLanes; ++l) {
          byte[l] |= (at[l] >= 0 ? 1 : 0) << k;
          sum[l] = sum[l] + (at[l] >= 0 ? at[l] : -at[l]);
        }
      }
      for (std::size_t l = 0; l < kLanes; ++l) to[l] = static_cast<std::uint8_t>(byte[l]);
      for (std::size_t l = here; l < kLanes; ++l) to[l] = 0;
    }
    for (std::size_t l = 0; l < kLanes; ++l) {
      squares[first + l] = square[l];
      sums[first + l] = sum[l];
    }
  }
}

}  // namespace
}  // namespace frazil
