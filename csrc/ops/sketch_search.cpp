// Search by a sketch: its blocks are scanned first, and only rows whose bound can reach the k-th best are scored.
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>

#include "../dispatch.h"
#include "../float_environment.h"
#include "../prefetch.h"
#include "ahead.h"
#include "expand.h"
#include "groups.h"
#include "search.h"

namespace frazil {
namespace {

constexpr std::size_t kChunkBlocks = 16;  // scanned for one query after the other; they stay in the caches meanwhile
constexpr std::size_t kChunkRows = kChunkBlocks * kSketchRows;
constexpr std::size_t kChunksAtOnce = 8;  // that a thread takes from the common counter
constexpr std::size_t kPicksAtOnce = 64;  // rows picked for a query are scored when there are so many
// Of few queries, rows that are not likely to get in wait until the others have raised the bound, so many of them at
// most. Of many, they are scored while the rows are in the caches for the others.
constexpr std::size_t kFewQueries = 8;
constexpr std::size_t kWaiting = std::size_t{1} << 18;
constexpr std::size_t kScoredAtOnce = 1024;  // of the rows picked

constexpr std::size_t kQueriesAtOnce = 8;  // that a kernel may share work between

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// What a row must be better than, one number for each query, which all threads raise: the largest float below the worst
// of k rows that one of them has. Whoever equals that one may still come first.
using SharedBounds = std::vector<std::atomic<float>>;

// What a search is about, the same for all threads.
struct Task {
  const Kernels& kernels;
  const Format& format;
  const Queries& queries;
  const SketchQueries& ready;
  const CodeMatrix& codes;
  const Sketch& sketch;
  const AllowedRows& allowed;

  // As search without a sketch scores it.
  float score_of(std::size_t q, std::size_t row, Expander& expander) const {
    if (queries.bits == 32) {
      float score = 0;
      expander.scores(codes.row(row), 0, 1)(queries.real(q), &score);
      return score;
    }
    std::int32_t dot = 0;
    kernels.dot_rows[format.width](codes.row(row), 0, 1, format.row_bytes(), queries.integer(q), 1, &dot, 1, {});
    return queries.score(q, dot);
  }
};

// What one thread knows of a group of queries, among rows that are counted from `origin`.
class SketchScan {
 public:
  SketchScan(const Task& task, std::size_t first, std::size_t last, std::size_t k, std::size_t origin,
             SharedBounds& shared)
      : task_(task),
        few_(last - first <= kFewQueries),
        first_(first),
        origin_(origin),
        shared_(shared),
        expander_(task.kernels, task.format),
        rows_(kChunkRows * kQueriesAtOnce),
        bounds_(rows_.size()),
        dots_(kScoredAtOnce),
        good_(kScoredAtOnce),
        ahead_(kChunkBlocks * task.sketch.shape.block_bytes()) {
    for (std::size_t i = 0; i < kQueriesAtOnce; ++i) {
      picked_[i] = {kLowest, 0, rows_.data() + i * kChunkRows, bounds_.data() + i * kChunkRows};
    }
    const float error = few_ ? task.sketch.typical_error() : 0;
    for (std::size_t q = first; q < last; ++q) {
      states_.emplace_back(k);
      states_.back().likely = error * task.ready.queries(q)->width * kLikely;
    }
  }

  // Rows [row, end), from the start of a block on.
  void chunk(std::size_t row, std::size_t end) {
    const std::size_t blocks = (end - row + kSketchRows - 1) / kSketchRows;
    const std::uint8_t* const data = task_.sketch.block(row / kSketchRows);
    const Ahead ahead{ahead_.next(), static_cast<std::ptrdiff_t>(kPrefetchBytes)};
    for (std::size_t i = 0; i < states_.size(); i += kQueriesAtOnce) {
      const std::size_t n = std::min(kQueriesAtOnce, states_.size() - i);
      parallel::checkpoint();
      for (std::size_t q = 0; q < n; ++q) picked_[q].least = shared_[i + q].load(std::memory_order_relaxed);
      task_.kernels.sketch_select(data, blocks, task_.sketch.shape, task_.ready.queries(first_ + i), n,
                                  i == 0 ? ahead : Ahead{}, picked_.data());
      for (std::size_t q = 0; q < n; ++q) {
        if (picked_[q].count > 0) take(i + q, picked_[q], row, end);
      }
    }
  }

  // Appends a query's best, by min(score, bound), to `hits`.
  void drain(std::size_t q, std::vector<Hit>& hits) {
    State& state = states_[q - first_];
    score(q - first_, state.picks);
    score(q - first_, state.waiting);
    state.best.drain(static_cast<std::int64_t>(origin_), hits);
  }

 private:
  // Rows whose bound is at least this part of the usual error's width above the worst of the best are likely to get in:
  // their estimate is not far below.
  static constexpr float kLikely = 0.75f;

  struct Picks {
    std::size_t count = 0, room = 0;
    std::unique_ptr<std::uint32_t[]> numbers;
    std::unique_ptr<float[]> bounds;

    void make_room(std::size_t n) {
      if (room >= count + n) return;
      room = std::max(count + n, 2 * room);
      copy(numbers);
      copy(bounds);
    }
    // Leaves out those that are no better than the worst of the best.
    void narrow(float least) {
      std::size_t n = 0;
      for (std::size_t j = 0; j < count; ++j) {
        numbers[n] = numbers[j];
        bounds[n] = bounds[j];
        n += bounds[j] > least;
      }
      count = n;
    }

   private:
    template <class T>
    void copy(std::unique_ptr<T[]>& values) const {
      auto larger = std::make_unique_for_overwrite<T[]>(room);
      std::copy_n(values.get(), count, larger.get());
      values = std::move(larger);
    }
  };

  struct State {
    explicit State(std::size_t k) : best(k) {}
    TopK best;
    Picks picks, waiting;
    float likely = 0;
  };

  // Keeps what was picked of rows [row, end) for later, or scores it.
  void take(std::size_t i, const SketchPicks& picked, std::size_t row, std::size_t end) {
    State& state = states_[i];
    std::size_t n = picked.count;
    while (n > 0 && picked.rows[n - 1] >= end - row) --n;  // rows that do not exist, if the sketch is damaged
    n = task_.allowed.keep(row, picked.rows, picked.bounds, n);
    state.picks.make_room(n);
    if (few_) {
      state.waiting.make_room(n);
      split(picked, n, row, state);
    } else {
      append(picked, n, row, state.picks);
    }
    if (state.picks.count >= kPicksAtOnce) score(i, state.picks);
    if (state.waiting.count >= kWaiting) {
      state.waiting.narrow(shared_[i].load(std::memory_order_relaxed));
      if (state.waiting.count >= kWaiting / 2) score(i, state.waiting);
    }
  }

  void append(const SketchPicks& picked, std::size_t n, std::size_t row, Picks& to) const {
    const auto from = static_cast<std::uint32_t>(row - origin_);
    for (std::size_t j = 0; j < n; ++j) to.numbers[to.count + j] = from + picked.rows[j];
    std::copy_n(picked.bounds, n, to.bounds.get() + to.count);
    to.count += n;
  }

  // Without a branch for each row: it would be guessed wrong.
  void split(const SketchPicks& picked, std::size_t n, std::size_t row, State& state) const {
    const auto from = static_cast<std::uint32_t>(row - origin_);
    const float likely = picked.least + state.likely;
    std::uint32_t* const numbers[] = {state.waiting.numbers.get() + state.waiting.count,
                                      state.picks.numbers.get() + state.picks.count};
    float* const bounds[] = {state.waiting.bounds.get() + state.waiting.count,
                             state.picks.bounds.get() + state.picks.count};
    std::size_t now = 0;
    for (std::size_t j = 0; j < n; ++j) {
      const bool is_likely = picked.bounds[j] > likely;
      const std::size_t at = is_likely ? now : j - now;
      numbers[is_likely][at] = from + picked.rows[j];
      bounds[is_likely][at] = picked.bounds[j];
      now += is_likely;
    }
    state.picks.count += now;
    state.waiting.count += n - now;
  }

  // Scores rows that were picked, those whose bound is not good enough any more left out.
  void score(std::size_t i, Picks& picks) {
    const std::size_t q = first_ + i;
    const float least = shared_[i].load(std::memory_order_relaxed);
    picks.narrow(least);
    const std::size_t n = picks.count;
    TopK& best = states_[i].best;
    const auto push = [&](std::size_t j, float score) {
      best.push(std::min(score, picks.bounds[j]) + 0.0f, picks.numbers[j]);
    };
    for (std::size_t begin = 0, end = 0; begin < n; begin = end) {
      parallel::checkpoint();
      end = std::min(n, begin + kScoredAtOnce);
      if (task_.queries.bits == 32) {
        for (std::size_t j = begin; j < end; ++j) push(j, task_.score_of(q, origin_ + picks.numbers[j], expander_));
        continue;
      }
      task_.kernels.dot_picked[task_.format.width](task_.codes.row(origin_), task_.codes.stride,
                                                   picks.numbers.get() + begin, end - begin, task_.format.row_bytes(),
                                                   task_.queries.integer(q), dots_.data());
      const std::int32_t threshold = task_.queries.least_dot(q, least);
      const std::size_t good = task_.kernels.select(dots_.data(), end - begin, threshold, good_.data());
      for (std::size_t j = 0; j < good; ++j) push(begin + good_[j], task_.queries.score(q, dots_[good_[j]]));
    }
    picks.count = 0;
    best.tighten();
    const float below = std::nextafter(best.bound(), kLowest);
    float known = shared_[i].load(std::memory_order_relaxed);
    while (below > known && !shared_[i].compare_exchange_weak(known, below, std::memory_order_relaxed)) {
    }
  }

  const Task& task_;
  const bool few_;
  const std::size_t first_, origin_;
  SharedBounds& shared_;
  Expander expander_;
  std::vector<State> states_;
  std::vector<std::uint32_t> rows_;
  std::vector<float> bounds_;
  std::array<SketchPicks, kQueriesAtOnce> picked_;  // room in the two above
  std::vector<std::int32_t> dots_;                  // of kScoredAtOnce rows, and which of them are good enough
  std::vector<std::uint32_t> good_;
  AheadTrial ahead_;
};

// Searches for queries first … last - 1 with all threads sharing the rows.
void search_group(const Task& task, std::size_t first, std::size_t last, std::size_t columns, unsigned threads,
                  float* scores, std::int64_t* rows) {
  const std::size_t all_rows = task.codes.rows;
  std::vector<std::vector<Hit>> hits(last - first);
  for (std::size_t origin = 0; origin < all_rows; origin += kSegmentRows) {
    const std::size_t end_row = std::min(all_rows, origin + kSegmentRows);
    SharedBounds shared(last - first);
    for (auto& bound : shared) bound.store(kLowest, std::memory_order_relaxed);
    parallel::Chunks chunks((end_row - origin + kChunkRows - 1) / kChunkRows, kChunksAtOnce);
    std::vector<std::unique_ptr<SketchScan>> scans(threads);
    parallel::run(threads, [&](unsigned slot) {
      auto scan = std::make_unique<SketchScan>(task, first, last, columns, origin, shared);
      std::size_t from = 0, to = 0;
      while (chunks.next(from, to)) {
        for (std::size_t c = from; c < to; ++c) {
          const std::size_t row = origin + c * kChunkRows, end = std::min(end_row, row + kChunkRows);
          if (task.allowed.any(row, end)) scan->chunk(row, end);
        }
      }
      scans[slot] = std::move(scan);
    });
    for (const auto& scan : scans) {
      for (std::size_t q = first; scan && q < last; ++q) scan->drain(q, hits[q - first]);
    }
  }
  // The best by min(score, bound); what is answered is their scores.
  Expander expander(task.kernels, task.format);
  for (std::size_t q = first; q < last; ++q) {
    std::vector<Hit>& best = hits[q - first];
    if (best.size() > columns) keep_best(best, columns, std::less<>());
    for (Hit& hit : best) {
      parallel::checkpoint();
      hit.score = task.score_of(q, static_cast<std::size_t>(hit.row), expander);
    }
    write_best(best, columns, scores + q * columns, rows + q * columns);
  }
}

}  // namespace

void search_by_sketch(const Format& format, const FloatMatrix& x, const CodeMatrix& codes, const Sketch& sketch,
                      double width, std::size_t columns, int query_bits, const AllowedRows& allowed, unsigned threads,
                      float* scores, std::int64_t* rows) {
  const DefaultFloatEnvironment environment;
  const Kernels& kernels = dispatch::table();
  const Queries queries = prepare_queries(kernels, format, x, query_bits, threads);
  if (queries.count == 0 || columns == 0) return;
  in_groups(format, queries.count, allowed.count(), columns, threads,
            [&](std::size_t first, std::size_t last, unsigned workers) {
              const SketchQueries ready(format, queries, first, last, sketch, width);
              const Task task{kernels, format, queries, ready, codes, sketch, allowed};
              search_group(task, first, last, columns, workers, scores, rows);
            });
}

}  // namespace frazil
