// What operations are given: arrays as pointers, shapes and strides. Nothing here owns memory or knows Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "../format.h"

namespace frazil {

enum class FloatType { kHalf, kBfloat16, kSingle, kDouble };

// Floats of any strides, in bytes.
struct FloatMatrix {
  const std::byte* data;
  FloatType type;
  std::size_t rows, columns;
  std::ptrdiff_t row_stride, column_stride;
  bool single;  // given as one vector, without an axis for rows

  const std::byte* row(std::size_t i) const { return data + static_cast<std::ptrdiff_t>(i) * row_stride; }
};

// Rows of codes; the bytes of a row are adjacent, rows are `stride` bytes apart.
struct CodeMatrix {
  const std::uint8_t* data;
  std::size_t rows, row_bytes;
  std::ptrdiff_t stride;
  bool single;  // given as one row, without an axis for rows

  const std::uint8_t* row(std::size_t i) const { return data + static_cast<std::ptrdiff_t>(i) * stride; }
};

// Bad arguments: becomes a ValueError.
[[noreturn]] inline void fail(const std::string& message) { throw std::invalid_argument(message); }

// Throws unless the format's numbers are ones that docs/format.md allows.
Format checked_format(std::int64_t dim, std::int64_t bits, double limit, bool normal);

// Throws unless query_bits is one of 4, 8, 32.
int checked_query_bits(std::int64_t query_bits);

// Throws unless there are as many columns as the format keeps.
void check_columns(const char* name, const FloatMatrix& x, const Format& format);

// Throws unless rows are as wide as the format's.
void check_codes(const CodeMatrix& codes, const Format& format);

}  // namespace frazil
