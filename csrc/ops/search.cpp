#include "search.h"

#include <limits>
#include <memory>

#include "../dispatch.h"
#include "../float_environment.h"
#include "../parallel.h"
#include "blocks.h"
#include "expand.h"
#include "groups.h"
#include "queries.h"
#include "topk.h"

namespace frazil {
namespace {

// What one thread knows of a group of queries.
class Scan {
 public:
  Scan(const Kernels& kernels, const Format& format, const Queries& queries, std::size_t first, std::size_t last,
       std::size_t k)
      : kernels_(kernels),
        queries_(queries),
        first_(first),
        last_(last),
        expander_(kernels, format),
        dots_(kernels, format),
        best_(last - first, TopK(k)),
        least_(last - first, std::numeric_limits<std::int32_t>::min()),
        picked_(block_rows(format)),
        scores_(queries.bits == 32 ? picked_.size() : 0) {}

  // Scores the rows of one block; row numbers are counted from `origin`.
  void block(const std::uint8_t* data, std::ptrdiff_t stride, std::size_t n, const std::int64_t* rows,
             std::int64_t first, std::int64_t origin) {
    const auto row = [&](std::size_t i) {
      return static_cast<std::uint32_t>((rows ? rows[i] : first + static_cast<std::int64_t>(i)) - origin);
    };
    if (queries_.bits == 32) {
      const auto write_scores = expander_.scores(data, stride, n);
      for (std::size_t q = first_; q < last_; ++q) {
        parallel::checkpoint();
        write_scores(queries_.real(q), scores_.data());
        TopK& best = best_[q - first_];
        for (std::size_t i = 0; i < n; ++i) {
          if (scores_[i] > best.bound()) best.push(scores_[i], row(i));  // rows ascend: equal ones come too late
        }
      }
      return;
    }
    const bool more = rows == nullptr;
    dots_.each(queries_, first_, last_, data, stride, n, more, least_.data(),
               [&](std::size_t q, const std::int32_t* dots) {
                 std::int32_t& least = least_[q - first_];
                 TopK& best = best_[q - first_];
                 const std::size_t count = kernels_.select(dots, n, least, picked_.data());
                 bool risen = false;
                 for (std::size_t i = 0; i < count; ++i)
                   risen |= best.push(queries_.score(q, dots[picked_[i]]), row(picked_[i]));
                 if (risen) least = queries_.least_dot(q, best.bound());
               });
  }

  void drain(std::size_t q, std::int64_t origin, std::vector<Hit>& hits) { best_[q - first_].drain(origin, hits); }

 private:
  const Kernels& kernels_;
  const Queries& queries_;
  const std::size_t first_, last_;
  Expander expander_;
  BlockDots dots_;
  std::vector<TopK> best_;
  std::vector<std::int32_t> least_;
  std::vector<std::uint32_t> picked_;
  std::vector<float> scores_;
};

class Search {
 public:
  Search(const Kernels& kernels, const Format& format, const Queries& queries, const CodeMatrix& codes,
         const AllowedRows& allowed, std::size_t columns, float* scores, std::int64_t* rows)
      : kernels_(kernels),
        format_(format),
        queries_(queries),
        codes_(codes),
        allowed_(allowed),
        columns_(columns),
        scores_(scores),
        rows_(rows),
        block_rows_(block_rows(format)) {}

  // Searches for queries first … last - 1 with all threads sharing the rows.
  void group(std::size_t first, std::size_t last, unsigned threads) {
    std::vector<std::vector<Hit>> hits(last - first);
    for (std::size_t row = 0; row < codes_.rows; row += kSegmentRows) {
      const auto origin = static_cast<std::int64_t>(row);
      std::size_t begin = 0, end = 0;
      allowed_.positions(row, std::min(codes_.rows, row + kSegmentRows), begin, end);
      if (begin == end) continue;
      parallel::Chunks chunks(end - begin, chunk_rows(format_));
      std::vector<std::unique_ptr<Scan>> scans(threads);
      parallel::run(threads, [&](unsigned slot) {
        auto scan = std::make_unique<Scan>(kernels_, format_, queries_, first, last, columns_);
        std::size_t from = 0, to = 0;
        while (chunks.next(from, to)) {
          allowed_.walk(codes_, begin + from, begin + to, block_rows_,
                        [&](const std::uint8_t* data, std::ptrdiff_t stride, std::size_t n, const std::int64_t* numbers,
                            std::int64_t number) { scan->block(data, stride, n, numbers, number, origin); });
        }
        scans[slot] = std::move(scan);
      });
      for (std::size_t q = first; q < last; ++q) {
        for (const auto& scan : scans) {
          if (scan) scan->drain(q, origin, hits[q - first]);
        }
      }
    }
    for (std::size_t q = first; q < last; ++q) {
      write_best(hits[q - first], columns_, scores_ + q * columns_, rows_ + q * columns_);
    }
  }

 private:
  const Kernels& kernels_;
  const Format& format_;
  const Queries& queries_;
  const CodeMatrix& codes_;
  const AllowedRows& allowed_;
  const std::size_t columns_;
  float* const scores_;
  std::int64_t* const rows_;
  const std::size_t block_rows_;
};

}  // namespace

void search(const Format& format, const FloatMatrix& x, const CodeMatrix& codes, std::size_t columns, int query_bits,
            const AllowedRows& allowed, unsigned threads, float* scores, std::int64_t* rows) {
  const DefaultFloatEnvironment environment;
  const Kernels& kernels = dispatch::table();
  const Queries queries = prepare_queries(kernels, format, x, query_bits, threads);
  if (queries.count == 0 || columns == 0) return;

  Search search(kernels, format, queries, codes, allowed, columns, scores, rows);
  in_groups(format, queries.count, allowed.count(), columns, threads,
            [&](std::size_t first, std::size_t last, unsigned workers) { search.group(first, last, workers); });
}

}  // namespace frazil
