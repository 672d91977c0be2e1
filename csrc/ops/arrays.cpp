#include "arrays.h"

#include <charconv>

namespace frazil {
namespace {

std::string shape(bool single, std::size_t rows, std::size_t columns) {
  return "(" + (single ? "" : std::to_string(rows) + ", ") + std::to_string(columns) + (single ? ",)" : ")");
}

}  // namespace

Format checked_format(std::int64_t dim, std::int64_t bits, double limit, bool normal) {
  if (bits != 4 && bits != 8) fail("bits: expected 4 or 8, got " + std::to_string(bits));
  if (normal && bits != 4) fail("bits: expected 4 for normal spacing, got " + std::to_string(bits));
  if (dim < static_cast<std::int64_t>(kMinDim) || dim > static_cast<std::int64_t>(kMaxDim)) {
    fail("dim: expected " + std::to_string(kMinDim) + " to " + std::to_string(kMaxDim) + ", got " +
         std::to_string(dim));
  }
  if (bits == 4 && dim % 2 != 0) fail("dim: expected an even number for 4 bits, got " + std::to_string(dim));
  if (!(limit >= kMinLimit && limit <= kMaxLimit)) {
    char given[32];
    *std::to_chars(given, given + sizeof given - 1, limit).ptr = '\0';  // the shortest that reads back the same
    fail(std::string("limit: expected a number from 1e-6 to 1e6, got ") + given);
  }
  return {static_cast<std::size_t>(dim), normal ? kNormal4 : bits == 4 ? kInt4 : kInt8, limit};
}

int checked_query_bits(std::int64_t query_bits) {
  if (query_bits != 4 && query_bits != 8 && query_bits != 32) {
    fail("query_bits: expected 4, 8 or 32, got " + std::to_string(query_bits));
  }
  return static_cast<int>(query_bits);
}

void check_columns(const char* name, const FloatMatrix& x, const Format& format) {
  if (x.columns < format.dim) {
    fail(std::string(name) + ": expected at least " + std::to_string(format.dim) + " columns, got shape " +
         shape(x.single, x.rows, x.columns));
  }
}

void check_codes(const CodeMatrix& codes, const Format& format) {
  if (codes.row_bytes != format.row_bytes()) {
    fail("codes: expected shape (n, " + std::to_string(format.row_bytes()) + ") for " + std::to_string(format.dim) +
         " dimensions of " + std::to_string(format.bits()) + " bits, got " +
         shape(codes.single, codes.rows, codes.row_bytes));
  }
}

}  // namespace frazil
