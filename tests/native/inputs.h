// Inputs that are the same on every machine: integers alone, no library's random numbers or mathematics.
// tests/native_inputs.py makes the same ones for the reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "../../csrc/format.h"
#include "../../csrc/ops/allow.h"
#include "../../csrc/ops/arrays.h"

namespace frazil::native {

using Bytes = std::vector<std::uint8_t>;

// FNV-1a of 64 bits; `state` carries on from bytes before.
inline constexpr std::uint64_t kFnvStart = 0xcbf29ce484222325u;
std::uint64_t fnv(const void* data, std::size_t size, std::uint64_t state = kFnvStart);

// splitmix64's numbers; a name's are its own.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  explicit Random(std::string_view name) : state_(fnv(name.data(), name.size())) {}

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Below n < 2^32: from the upper bits.
  std::size_t below(std::size_t n) { return static_cast<std::size_t>((next() >> 32) * n >> 32); }

 private:
  std::uint64_t state_;
};

const char* name_of(FloatType type);
const char* name_of(Width width);
std::size_t size_of(FloatType type);

// A limit that suits vectors of so many dimensions: some of their values are beyond it.
Format format_of(Width width, std::size_t dim);

// Writes ±2^exponent * 1.fraction, the fraction being the lower bits of `word`, the sign its highest; subnormal,
// without the leading 1, where the exponent is too small for the type, as kSubnormal always is.
inline constexpr int kSubnormal = -2000;
void write_float(FloatType type, int exponent, std::uint64_t word, std::uint8_t* to);

// Rows of `columns` floats, side by side. Row r is of kind r mod 8: usual ones, of whole numbers (ties), spread widely,
// one large value among small ones, tiny and subnormal ones, large ones. All have a sum of squares that kernels pack.
Bytes float_matrix(const std::string& name, FloatType type, std::size_t n, std::size_t columns);

// Rows that kernels leave to others, each overwriting a row: values of kind 0 … 4 are NaN, infinity, zero, too large
// and too small; for 16-bit floats, the first three (bfloat16 has them all).
inline constexpr std::size_t kUnusual = 5;
bool write_unusual(FloatType type, std::size_t kind, std::size_t columns, std::uint8_t* row);

// Rows of codes; some are the least or the greatest everywhere, or by turns.
Bytes code_rows(const std::string& name, std::size_t n, std::size_t row_bytes);

// Queries of integers by planes (format.h), the padding zero: q mod 8 = 1 is 127 everywhere, 2 is -127, 3 both by
// turns, 4 is zero, the others are any numbers from -127 to 127.
std::vector<std::int8_t> integer_queries(const std::string& name, std::size_t n, Width width, std::size_t row_bytes);

// The same of floats from -1 to 1: q mod 4 = 1 is 1 everywhere, 2 is subnormal, 3 spread widely with zeros of both
// signs.
std::vector<float> float_queries(const std::string& name, std::size_t n, Width width, std::size_t row_bytes);

// A symmetric, positive definite matrix (dim, dim), its rows `stride` numbers apart, zeros between.
std::vector<float> metric_matrix(std::size_t dim, std::size_t stride);

// These rows, of n.
AllowedRows allowed_list(const std::vector<std::int64_t>& rows, std::size_t n);

}  // namespace frazil::native
