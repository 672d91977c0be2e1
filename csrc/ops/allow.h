// Which rows a search may answer, and walking over them in blocks.
#pragma once

#include <algorithm>
#include <cstdint>
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
  // is null). Codes are read where they lie if neighbours are allowed, at least kLongRun of a mask's; else the allowed
  // rows alone are copied together.
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
    const auto push = [&](std::int64_t row) {
      rows.push_back(row);
      if (rows.size() == most) flush();
    };
    if (kind_ == Kind::kList) {
      for (std::size_t p = begin; p < end; ++p) push(list_[p]);
    } else {
      for (std::size_t p = next(begin, end, true); p < end;) {
        const std::size_t stop = next(p, std::min(end, p + most), false);
        if (stop - p >= kLongRun) {
          flush();
          fn(codes.row(p), codes.stride, stop - p, nullptr, static_cast<std::int64_t>(p));
        } else {
          for (std::size_t r = p; r < stop; ++r) push(static_cast<std::int64_t>(r));
        }
        p = next(stop, end, true);
      }
    }
    flush();
  }

 private:
  // Neighbours of a mask that are read where they lie; fewer are copied together with others.
  static constexpr std::size_t kLongRun = 64;

  // The first row from p on, below end, that the mask allows, or does not; else end.
  std::size_t next(std::size_t p, std::size_t end, bool allowed) const {
    if (stride_ == 1) {  // eight at a time, as long as none of them is it
      for (std::uint64_t eight = 0; end - p >= sizeof eight; p += sizeof eight) {
        std::memcpy(&eight, mask_ + p, sizeof eight);
        const bool has_zero = ((eight - 0x0101010101010101) & ~eight & 0x8080808080808080) != 0;
        if (allowed ? eight != 0 : has_zero) break;
      }
    }
    while (p < end && (mask_[static_cast<std::ptrdiff_t>(p) * stride_] != 0) != allowed) ++p;
    return p;
  }

  enum class Kind { kAll, kMask, kList };
  Kind kind_ = Kind::kAll;
  std::size_t count_ = 0;
  const std::uint8_t* mask_ = nullptr;
  std::ptrdiff_t stride_ = 0;
  std::vector<std::int64_t> list_;
};

}  // namespace frazil
