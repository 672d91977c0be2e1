// The k best rows for each query, exactly, without the matrix of all scores.
#pragma once

#include "allow.h"
#include "arrays.h"

namespace frazil {

// scores, rows: (queries.rows, columns), columns being at most the number of allowed rows. Arguments have been checked
// (arrays.h); throws std::invalid_argument naming the first query with NaN or infinity. If a mask allows fewer rows
// than when they were counted, the last columns have row -1 and score minus infinity.
void search(const Format& format, const FloatMatrix& queries, const CodeMatrix& codes, std::size_t columns,
            int query_bits, const AllowedRows& allowed, unsigned threads, float* scores, std::int64_t* rows);

}  // namespace frazil
