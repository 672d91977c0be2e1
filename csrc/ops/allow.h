// Which rows a search may answer, and walking over them in blocks.
#pragma once

#include <cstring>
#include <optional>
#include <vector>

#include "arrays.h"

namespace frazil {

// All rows, those of a mask, or those of a list.
class AllowedRows {
 public:
  static AllowedRows all(std::size_t n);
  // mask: n bytes, zero or not, `stride` bytes apart. Must outlive this object.
  static AllowedRows mask(const std::uint8_t* mask, std::ptrdiff_t stride, std::size_t n);
  // list: `count` row numbers, `stride` bytes apart, in any order; repetitions count once. They are copied. Throws
  // std::invalid_argument naming a number outside of 0 … n - 1.
  static AllowedRows list(const std::byte* list, std::ptrdiff_t stride, std::size_t count, std::size_t n);

  std::size_t count() const { return count_; }

  // Positions are what a walk is split by: rows, or places in the list. [begin, end) of those for rows [first, last).
  void positions(std::size_t first, std::size_t last, std::size_t& begin, std::size_t& end) const;

  // Whether any of the rows [first, last) is allowed.
  bool any(std::size_t first, std::size_t last) const;

  // Keeps those of the n numbers, ascending and counted from `first`, that are allowed, each with its bound; returns
  // how many.
  std::size_t keep(std::size_t first, std::uint32_t* numbers, float* bounds, std::size_t n) const;

  // Walks over the allowed rows of positions [begin, end), ascending, calling
  //   fn(const std::uint8_t* data, std::ptrdiff_t stride, std::size_t n, const std::int64_t* rows, std::int64_t first)
  // for blocks of at most `most` rows: their codes, and their row numbers (`rows`, or first, first + 1 … where `rows`
  // is null). Codes are read where they lie if neighbours are allowed; else the allowed rows alone are copied together.
  template <class Fn>
  void walk(const CodeMatrix& codes, std::size_t begin, std::size_t end, std::size_t most, Fn&& fn) const {
    if (kind_ == Kind::kAll) {
      for (std::size_t r = begin; r < end; r += most) {
        fn(codes.row(r), codes.stride, std::min(most, end - r), nullptr, static_cast<std::int64_t>(r));
      }
      return;
    }
    std::vector<std::int64_t> rows;
    std::vector<std::uint8_t> copies;
    const auto flush = [&] {
      if (rows.empty()) return;
      const auto n = rows.size();
      const auto first = static_cast<std::size_t>(rows.front());
      if (static_cast<std::size_t>(rows.back()) - first == n - 1) {
        fn(codes.row(first), codes.stride, n, nullptr, rows.front());
      } else {
        copies.resize(n * codes.row_bytes);
        for (std::size_t i = 0; i < n; ++i) {
          std::memcpy(copies.data() + i * codes.row_bytes, codes.row(static_cast<std::size_t>(rows[i])),
                      codes.row_bytes);
        }
        fn(static_cast<const std::uint8_t*>(copies.data()), static_cast<std::ptrdiff_t>(codes.row_bytes), n,
           static_cast<const std::int64_t*>(rows.data()), rows.front());
      }
      rows.clear();
    };
    for (std::size_t p = begin; p < end; ++p) {
      if (kind_ == Kind::kList) {
        rows.push_back(list_[p]);
      } else if (mask_[static_cast<std::ptrdiff_t>(p) * stride_] != 0) {
        rows.push_back(static_cast<std::int64_t>(p));
      }
      if (rows.size() == most) flush();
    }
    flush();
  }

 private:
  enum class Kind { kAll, kMask, kList };
  Kind kind_ = Kind::kAll;
  std::size_t count_ = 0;
  const std::uint8_t* mask_ = nullptr;
  std::ptrdiff_t stride_ = 0;
  std::vector<std::int64_t> list_;
};

}  // namespace frazil
