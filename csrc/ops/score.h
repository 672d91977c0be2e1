// Every query against every row.
#pragma once

#include "arrays.h"

namespace frazil {

// out: (queries.rows, codes.rows). Throws std::invalid_argument for bad arguments.
void score(const Format& format, const FloatMatrix& queries, const CodeMatrix& codes, long query_bits, unsigned threads,
           float* out);

}  // namespace frazil
