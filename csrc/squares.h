// The sum of squares in the order of docs/format.md §3, for the portable kernels and for queries.
#pragma once

#include <cstddef>
#include <cstring>

#include "floats.h"

namespace frazil {

// Of dim values of type T, adjacent, at any address, 16-bit ones widened. (Static: see format.h.)
template <class T>
static double sum_of_squares(const std::byte* x, std::size_t dim) {
  double p[32] = {};
  for (std::size_t i = 0; i < dim; ++i) {
    T value;
    std::memcpy(&value, x + i * sizeof(T), sizeof value);
    const double wide = static_cast<double>(widen(value));
    p[i % 32] += wide * wide;
  }
  for (std::size_t h = 16; h > 0; h /= 2) {
    for (std::size_t j = 0; j < h; ++j) p[j] += p[j + h];
  }
  return p[0];
}

}  // namespace frazil
