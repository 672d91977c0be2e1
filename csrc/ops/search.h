// The k best rows for each query, exactly, without the matrix of all scores.
#pragma once

#include "allow.h"
#include "arrays.h"
#include "sketch.h"

namespace frazil {

// scores, rows: (queries.rows, columns), columns being at most the number of allowed rows. Arguments have been checked
// (arrays.h); throws std::invalid_argument naming the first query with NaN or infinity. If a mask allows fewer rows
// than when they were counted, the last columns have row -1 and score minus infinity.
void search(const Format& format, const FloatMatrix& queries, const CodeMatrix& codes, std::size_t columns,
            int query_bits, const AllowedRows& allowed, unsigned threads, float* scores, std::int64_t* rows);

// The same for the k rows with the highest min(score, bound), where the bound is the sketch's, `width` standard
// deviations above its estimate (docs/format.md §7): the rows whose bound cannot reach the k-th best are not read. Also
// fewer hits than columns if the sketch is damaged.
void search_by_sketch(const Format& format, const FloatMatrix& queries, const CodeMatrix& codes, const Sketch& sketch,
                      double width, std::size_t columns, int query_bits, const AllowedRows& allowed, unsigned threads,
                      float* scores, std::int64_t* rows);

}  // namespace frazil
