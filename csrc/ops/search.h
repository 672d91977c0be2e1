// The k best rows for each query, exactly, without the matrix of all scores.
#pragma once

#include "allow.h"
#include "arrays.h"

namespace frazil {

// How many columns the answer has: k, or the number of allowed rows if that is less. Throws for a bad k.
std::size_t search_columns(long long k, const AllowedRows& allowed);

// scores, rows: (queries.rows, columns). Throws std::invalid_argument for bad arguments.
void search(const Format& format, const FloatMatrix& queries, const CodeMatrix& codes, std::size_t columns,
            long query_bits, const AllowedRows& allowed, unsigned threads, float* scores, std::int64_t* rows);

}  // namespace frazil
