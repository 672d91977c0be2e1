// The k best of a stream of scored rows: by score, descending, then by row, ascending.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "../parallel.h"

namespace frazil {

struct Hit {
  float score;
  std::int64_t row;
  friend bool operator<(const Hit& a, const Hit& b) {
    return a.score > b.score || (a.score == b.score && a.row < b.row);
  }
};

// Drops all but the n best, of which there must be as many. In no order.
template <class T, class Order>
void keep_best(std::vector<T>& all, std::size_t n, Order order) {
  parallel::sorting(all.size(), order, [&](auto less) {
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n - 1), all.end(), less);
  });
  all.resize(n);
}

// Collects candidates, in any order, and, whenever its buffer is full, drops all but the k best: amortized constant
// time for each, whatever k. A candidate is one 64-bit key: the score's bits, made to order as integers do, above the
// row's complement.
class TopK {
 public:
  explicit TopK(std::size_t k) : k_(k), capacity_(capacity(k)) { keys_.reserve(capacity_); }

  // How many candidates are held at most. Of few more than k, fewer candidates come, as the bound rises earlier: 256
  // queries for the best 10 of 20,000 rows are answered 1.15 times as fast as with 128 more.
  static std::size_t capacity(std::size_t k) { return std::max(2 * k, k + 16); }

  // No score below this can enter any more, nor one equal to it of a later row. Minus infinity until k candidates are
  // known to be better.
  float bound() const { return bound_; }

  // Rows are counted from an origin of the caller's, below 2^32. Returns true if the bound has risen.
  bool push(float score, std::uint32_t row) {
    if (score < bound_) return false;
    keys_.push_back(static_cast<std::uint64_t>(ordered(score)) << 32 | ~row);
    if (keys_.size() < capacity_) return false;
    shrink();
    bound_ = score_of(keys_[k_ - 1]);
    return true;
  }

  // Raises the bound before the buffer is full, where that costs little for each candidate that has come since.
  void tighten() {
    if (keys_.size() < k_ + (bound_ > -std::numeric_limits<float>::infinity() ? k_ / 4 + 1 : 0)) return;
    shrink();
    bound_ = score_of(keys_[k_ - 1]);
  }

  // Appends the k best, in no order, to `hits`, their rows counted from `origin`.
  void drain(std::int64_t origin, std::vector<Hit>& hits) {
    if (keys_.size() > k_) shrink();
    for (const std::uint64_t key : keys_) {
      hits.push_back({score_of(key), origin + static_cast<std::int64_t>(static_cast<std::uint32_t>(~key))});
    }
    keys_.clear();
  }

 private:
  void shrink() { keep_best(keys_, k_, std::greater<>()); }

  // Unsigned integers in the order of the floats.
  static std::uint32_t ordered(float score) {
    const auto bits = std::bit_cast<std::uint32_t>(score);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  }
  static float score_of(std::uint64_t key) {
    const auto bits = static_cast<std::uint32_t>(key >> 32);
    return std::bit_cast<float>(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
  }

  std::size_t k_, capacity_;
  float bound_ = -std::numeric_limits<float>::infinity();
  std::vector<std::uint64_t> keys_;
};

// Writes the best of the hits, sorted, into `columns` places. There are as many hits as that unless somebody has
// changed the mask since it was counted, or the sketch is damaged: what is left has row -1 and score minus infinity.
inline void write_best(std::vector<Hit>& hits, std::size_t columns, float* scores, std::int64_t* rows) {
  parallel::checkpoint();
  const std::size_t n = std::min(columns, hits.size());
  if (n < hits.size()) keep_best(hits, n, std::less<>());
  parallel::sorting(n, std::less<>(), [&](auto less) { std::sort(hits.begin(), hits.end(), less); });
  for (std::size_t i = 0; i < columns; ++i) {
    scores[i] = i < n ? hits[i].score : -std::numeric_limits<float>::infinity();
    rows[i] = i < n ? hits[i].row : -1;
  }
}

}  // namespace frazil
