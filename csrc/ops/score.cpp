#include "score.h"

#include <limits>

#include "../dispatch.h"
#include "../float_environment.h"
#include "../parallel.h"
#include "blocks.h"
#include "expand.h"
#include "queries.h"

namespace frazil {
namespace {

constexpr std::size_t kQueryGroup = 256;  // queries of a task

}  // namespace

void score(const Format& format, const FloatMatrix& x, const CodeMatrix& codes, int query_bits, unsigned threads,
           float* out) {
  const DefaultFloatEnvironment environment;
  const Kernels& kernels = dispatch::table();
  const Queries queries = prepare_queries(kernels, format, x, query_bits, threads);
  if (queries.count == 0 || codes.rows == 0) return;

  // A task is a block of rows against a group of queries.
  const std::size_t rows_at_once = block_rows(format);
  const std::size_t row_blocks = (codes.rows + rows_at_once - 1) / rows_at_once;
  const std::size_t query_groups = (queries.count + kQueryGroup - 1) / kQueryGroup;
  parallel::Chunks tasks(row_blocks * query_groups, 1);
  const std::size_t work = codes.rows * format.row_bytes() * queries.count;
  parallel::run(parallel::worth(threads, work, kBytesPerThread), [&](unsigned) {
    BlockDots dots(kernels, format);
    Expander expander(kernels, format);
    const std::vector<std::int32_t> least(kQueryGroup, std::numeric_limits<std::int32_t>::min());  // all are wanted
    std::size_t task = 0, end = 0;
    while (tasks.next(task, end)) {
      const std::size_t first_row = task / query_groups * rows_at_once;
      const std::size_t n = std::min(rows_at_once, codes.rows - first_row);
      const std::size_t first = task % query_groups * kQueryGroup, last = std::min(first + kQueryGroup, queries.count);
      const std::uint8_t* const rows = codes.row(first_row);
      if (queries.bits == 32) {
        const auto write_scores = expander.scores(rows, codes.stride, n);
        for (std::size_t q = first; q < last; ++q) {
          parallel::checkpoint();
          write_scores(queries.real(q), out + q * codes.rows + first_row);
        }
        continue;
      }
      dots.each(queries, first, last, rows, codes.stride, n, last == queries.count, least.data(),
                [&](std::size_t q, const std::int32_t* of) {
                  parallel::checkpoint();  // the first writing to memory may take a thousand times as long
                  float* const to = out + q * codes.rows + first_row;
                  for (std::size_t r = 0; r < n; ++r) to[r] = queries.score(q, of[r]);
                });
    }
  });
}

}  // namespace frazil
