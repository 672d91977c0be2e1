// Every query against every row.
#pragma once

#include "arrays.h"

namespace frazil {

// out: (queries.rows, codes.rows). Arguments have been checked (arrays.h); throws std::invalid_argument naming the
// first query with NaN or infinity.
void score(const Format& format, const FloatMatrix& queries, const CodeMatrix& codes, int query_bits, unsigned threads,
           float* out);

}  // namespace frazil
