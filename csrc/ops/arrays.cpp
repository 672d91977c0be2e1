#include "arrays.h"

#include <sstream>

namespace frazil {
namespace {

std::string shape(std::size_t rows, std::size_t columns) {
  return "(" + std::to_string(rows) + ", " + std::to_string(columns) + ")";
}

}  // namespace

Format checked_format(long dim, long bits, double limit) {
  if (bits != 4 && bits != 8) fail("bits: expected 4 or 8, got " + std::to_string(bits));
  if (dim < static_cast<long>(kMinDim) || dim > static_cast<long>(kMaxDim)) {
    fail("dim: expected " + std::to_string(kMinDim) + " to " + std::to_string(kMaxDim) + ", got " +
         std::to_string(dim));
  }
  if (bits == 4 && dim % 2 != 0) fail("dim: expected an even number for 4 bits, got " + std::to_string(dim));
  if (!(limit >= kMinLimit && limit <= kMaxLimit)) {
    std::ostringstream message;
    message << "limit: expected a number from " << kMinLimit << " to " << kMaxLimit << ", got " << limit;
    fail(message.str());
  }
  return {static_cast<std::size_t>(dim), bits == 4 ? kInt4 : kInt8, limit};
}

void check_columns(const char* name, const FloatMatrix& x, const Format& format) {
  if (x.columns < format.dim) {
    fail(std::string(name) + ": expected at least " + std::to_string(format.dim) + " columns, got shape " +
         shape(x.rows, x.columns));
  }
}

void check_codes(const CodeMatrix& codes, const Format& format) {
  if (codes.row_bytes != format.row_bytes()) {
    fail("codes: expected shape (n, " + std::to_string(format.row_bytes()) + ") for " + std::to_string(format.dim) +
         " dimensions of " + std::to_string(format.bits()) + " bits, got " + shape(codes.rows, codes.row_bytes));
  }
}

}  // namespace frazil
