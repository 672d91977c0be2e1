#include "search.h"

#include <cmath>
#include <limits>
#include <memory>

#include "../dispatch.h"
#include "../float_environment.h"
#include "../parallel.h"
#include "blocks.h"
#include "queries.h"
#include "topk.h"

namespace frazil {
namespace {

constexpr std::size_t kSegmentRows = std::size_t{1} << 31;      // TopK counts rows in 32 bits
constexpr std::size_t kQueryGroup = 1024;                       // queries searched in one pass over the rows
constexpr std::size_t kCandidateBytes = std::size_t{64} << 20;  // at most, about, for the candidates of a group
constexpr std::size_t kBlocksAtOnce = 8;                        // blocks a thread takes from the common counter

// The dots that would beat `bound` are those from the returned one on: the least dot with float(2 * dot - bias) * scale
// > bound.
std::int32_t least_dot(const Queries& queries, std::size_t q, float bound) {
  constexpr auto kNone = std::numeric_limits<std::int32_t>::max();
  if (bound == -std::numeric_limits<float>::infinity()) return std::numeric_limits<std::int32_t>::min();
  const float scale = queries.scale[q];
  if (scale == 0) return kNone;  // every score is 0
  const auto beats = [&](std::int64_t i) { return static_cast<float>(i) * scale > bound; };
  auto i = static_cast<std::int64_t>(std::floor(static_cast<double>(bound) / static_cast<double>(scale)));
  while (beats(i)) --i;
  while (!beats(i)) ++i;
  const std::int64_t dot = (i + queries.bias[q] + 1) >> 1;  // rounded up
  return static_cast<std::int32_t>(std::min<std::int64_t>(dot, kNone));
}

// What one thread knows of a group of queries.
class Scan {
 public:
  Scan(const Kernels& kernels, const Format& format, const Queries& queries, std::size_t first, std::size_t last,
       std::size_t k)
      : kernels_(kernels),
        format_(format),
        queries_(queries),
        first_(first),
        last_(last),
        dots_(kernels, format),
        best_(last - first, TopK(k)),
        least_(last - first, std::numeric_limits<std::int32_t>::min()),
        picked_(block_rows(format.row_bytes())),
        scores_(queries.bits == 32 ? picked_.size() : 0) {}

  // Scores the rows of one block; row numbers are counted from `origin`.
  void block(const std::uint8_t* data, std::ptrdiff_t stride, std::size_t n, const std::int64_t* rows,
             std::int64_t first, std::int64_t origin) {
    const auto row = [&](std::size_t i) {
      return static_cast<std::uint32_t>((rows ? rows[i] : first + static_cast<std::int64_t>(i)) - origin);
    };
    if (queries_.bits == 32) {
      const float half_step = static_cast<float>(format_.half_step());
      for (std::size_t q = first_; q < last_; ++q) {
        kernels_.float_rows[format_.width](data, stride, n, format_.row_bytes(), queries_.real(q), half_step,
                                           scores_.data());
        for (std::size_t i = 0; i < n; ++i) best_[q - first_].push(scores_[i], row(i));
      }
      return;
    }
    dots_.each(queries_, first_, last_, data, stride, n, [&](std::size_t q, const std::int32_t* dots) {
      std::int32_t& least = least_[q - first_];
      TopK& best = best_[q - first_];
      const std::size_t count = kernels_.select(dots, n, least, picked_.data());
      bool risen = false;
      for (std::size_t i = 0; i < count; ++i) risen |= best.push(queries_.score(q, dots[picked_[i]]), row(picked_[i]));
      if (risen) least = least_dot(queries_, q, best.bound());
    });
  }

  void drain(std::size_t q, std::int64_t origin, std::vector<Hit>& hits) { best_[q - first_].drain(origin, hits); }

 private:
  const Kernels& kernels_;
  const Format& format_;
  const Queries& queries_;
  const std::size_t first_, last_;
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
        block_rows_(block_rows(format.row_bytes())) {}

  // Searches for queries first … last - 1 with all threads sharing the rows.
  void group(std::size_t first, std::size_t last, unsigned threads) {
    std::vector<std::vector<Hit>> hits(last - first);
    for (std::size_t row = 0; row < codes_.rows; row += kSegmentRows) {
      const auto origin = static_cast<std::int64_t>(row);
      std::size_t begin = 0, end = 0;
      allowed_.positions(row, std::min(codes_.rows, row + kSegmentRows), begin, end);
      if (begin == end) continue;
      parallel::Chunks chunks(end - begin, block_rows_ * kBlocksAtOnce);
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
    for (std::size_t q = first; q < last; ++q) write(q, hits[q - first]);
  }

 private:
  void write(std::size_t q, std::vector<Hit>& hits) {
    const std::size_t n = std::min(columns_, hits.size());
    std::partial_sort(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(n), hits.end());
    // There are as many hits as columns unless somebody has changed the mask since it was counted.
    for (std::size_t i = 0; i < columns_; ++i) {
      scores_[q * columns_ + i] = i < n ? hits[i].score : -std::numeric_limits<float>::infinity();
      rows_[q * columns_ + i] = i < n ? hits[i].row : -1;
    }
  }

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
  const std::size_t candidates = TopK::capacity(columns) * sizeof(std::uint64_t);
  const std::size_t group = std::clamp<std::size_t>(kCandidateBytes / candidates, 1, kQueryGroup);
  const std::size_t bytes = allowed.count() * format.row_bytes();
  const unsigned workers = parallel::worth(threads, bytes * queries.count, kBytesPerThread);

  // Many rows: threads share them. Few rows, many queries: each thread searches all rows for queries of its own.
  if (workers == 1 || allowed.count() >= std::size_t{workers} * block_rows(format.row_bytes()) * kBlocksAtOnce) {
    for (std::size_t q = 0; q < queries.count; q += group) search.group(q, std::min(queries.count, q + group), workers);
    return;
  }
  const std::size_t share = std::clamp<std::size_t>((queries.count + workers - 1) / workers, 1, group);
  parallel::Chunks groups(queries.count, share);
  parallel::run(workers, [&](unsigned) {
    std::size_t begin = 0, end = 0;
    while (groups.next(begin, end)) search.group(begin, end, 1);
  });
}

}  // namespace frazil
