// Queries made ready for the kernels: truncated, renormalized, quantized, laid out by planes (format.h).
#pragma once

#include <cstdint>
#include <vector>

#include "../kernel_table.h"
#include "arrays.h"
#include "lines.h"

namespace frazil {

struct Queries {
  std::size_t count = 0;
  int bits = 8;        // 4, 8 or 32
  std::size_t stride;  // entries from one query to the next
  // Whose planes the entries lie in. Of normal levels: integers in those of the codes, floats in those of 8-bit codes.
  Format layout;
  // bits 4 and 8: a document's score is float(2 * dot - bias) * scale, both steps rounded to float.
  LineArray<std::int8_t> integers;
  std::vector<std::int32_t> bias;
  std::vector<float> scale;
  std::size_t span = kLeastSpan;  // of all of them, for tiles that go by it
  // bits 32
  LineArray<float> floats;

  std::size_t position(std::size_t i) const { return plane_position(layout.width, layout.row_bytes(), i); }
  const std::int8_t* integer(std::size_t q) const { return integers.get() + q * stride; }
  const float* real(std::size_t q) const { return floats.get() + q * stride; }
  // The least dot whose score is greater than `bound`.
  std::int32_t least_dot(std::size_t q, float bound) const;
  float score(std::size_t q, std::int32_t dot) const { return static_cast<float>(2 * dot - bias[q]) * scale[q]; }
};

// A query's of n entries (kernel_table.h), both multiples of kLeastSpan.
std::size_t span_of(const std::int8_t* entries, std::size_t n);

// Throws std::invalid_argument naming the first row with NaN or infinity.
Queries prepare_queries(const Kernels& kernels, const Format& format, const FloatMatrix& x, int query_bits,
                        unsigned threads);

}  // namespace frazil
