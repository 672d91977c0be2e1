// Memory that is asked for in passing. In an unnamed namespace: see format.h.
#pragma once

#include "../prefetch.h"
#include "common.h"

namespace frazil {
namespace {

// What comes next is asked for while something else is computed, Bytes at a time: reading and computing then overlap.
// Asked for all at once, it would keep the loads of the computation waiting.
template <std::size_t Bytes>
class Upcoming {
 public:
  // at: null for nothing; what is asked for then is `idle`, which is in the cache.
  Upcoming(const std::uint8_t* at, const std::uint8_t* idle)
      : at_(at != nullptr ? at : idle), step_(at != nullptr ? Bytes : 0) {}

  FRAZIL_INLINE void ask() {
    prefetch<true>(at_, Bytes);
    at_ += step_;
  }

  // As it is once so many more bytes have been asked for.
  Upcoming after(std::size_t bytes) const { return Upcoming(at_ + (step_ != 0 ? bytes : 0), step_); }

 private:
  Upcoming(const std::uint8_t* at, std::size_t step) : at_(at), step_(step) {}

  const std::uint8_t* at_;
  std::size_t step_;
};

// Asks for the kept parts of rows of floats, `stride` bytes apart, Bytes at a time while others are read: in order,
// those of the row kPrefetchRows further on; or spread over as many rows in turn, a page or more apart, of the next
// group of rows, until all of that group have been asked for.
template <std::size_t Bytes>
class UpcomingFloats {
 public:
  UpcomingFloats(const RowsAhead& ahead, std::ptrdiff_t stride)
      : way_(ahead.way), stride_(stride), parts_(parts(stride)), row_(ahead.row) {}

  // `at` is where the row begins that is read next.
  FRAZIL_INLINE void begin_row(const void* at) {
    if (way_ == Ahead::kInOrder) {
      next_ = static_cast<const char*>(at) + rows(kPrefetchRows);
      to_next_row_ = back_ = kLineBytes;  // of the same row
    } else if (way_ == Ahead::kSpread && row_ % kPrefetchRows == 0) {
      const std::size_t part = row_ / kPrefetchRows % parts_;  // of the group; asks for rows part, part + parts_ …
      next_ = static_cast<const char*>(at) + rows(kPrefetchRows * (parts_ - part) + part);
      to_next_row_ = rows(parts_);
      back_ = static_cast<std::ptrdiff_t>(kLineBytes) - static_cast<std::ptrdiff_t>(kPrefetchRows - 1) * to_next_row_;
      asked_ = 0;
    }
    ++row_;
  }

  // As many bytes of the row are read.
  FRAZIL_INLINE void ask() {
    if (way_ == Ahead::kNothing) return;
    for (std::size_t i = 0; i < Bytes; i += kLineBytes) {
      prefetch(next_, 1);
      next_ += ++asked_ % kPrefetchRows != 0 ? to_next_row_ : back_;
    }
  }

 private:
  static constexpr std::size_t kMostParts = 8;

  // How many rows make a page; a group has kPrefetchRows times as many.
  static std::size_t parts(std::ptrdiff_t stride) {
    const std::size_t bytes = static_cast<std::size_t>(stride < 0 ? -stride : stride);
    return bytes * kMostParts < kPageBytes ? kMostParts : (kPageBytes + bytes - 1) / bytes;
  }
  std::ptrdiff_t rows(std::size_t n) const { return static_cast<std::ptrdiff_t>(n) * stride_; }

  const Ahead::Way way_;
  const std::ptrdiff_t stride_;
  const std::size_t parts_;
  std::size_t row_;
  const char* next_ = nullptr;  // to be asked for; then how far it is to the next, and from the last row to the first
  std::ptrdiff_t to_next_row_ = 0, back_ = 0;
  std::size_t asked_ = 0;
};

}  // namespace
}  // namespace frazil
