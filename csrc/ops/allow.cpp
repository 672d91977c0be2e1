#include "allow.h"

#include <algorithm>
#include <functional>

#include "../parallel.h"

namespace frazil {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 14;

}  // namespace

AllowedRows AllowedRows::all(std::size_t n) {
  AllowedRows allowed;
  allowed.count_ = n;
  return allowed;
}

AllowedRows AllowedRows::mask(const std::uint8_t* mask, std::ptrdiff_t stride, std::size_t n) {
  AllowedRows allowed;
  allowed.kind_ = Kind::kMask;
  allowed.mask_ = mask;
  allowed.stride_ = stride;
  std::size_t begin = 0, end = 0;
  for (parallel::Chunks chunks(n, kChunk); chunks.next(begin, end);) {
    for (std::size_t i = begin; i < end; ++i) allowed.count_ += mask[static_cast<std::ptrdiff_t>(i) * stride] != 0;
  }
  return allowed;
}

AllowedRows AllowedRows::list(const std::byte* list, std::ptrdiff_t stride, std::size_t count, std::size_t n) {
  std::vector<std::int64_t> rows;
  rows.reserve(count);
  std::size_t begin = 0, end = 0;
  for (parallel::Chunks chunks(count, kChunk); chunks.next(begin, end);) {
    for (std::size_t i = begin; i < end; ++i) {
      std::int64_t row = 0;
      std::memcpy(&row, list + static_cast<std::ptrdiff_t>(i) * stride, sizeof row);
      if (row < 0 || static_cast<std::uint64_t>(row) >= n) {
        fail("allow: expected row numbers from 0, below " + std::to_string(n) + ", got " + std::to_string(row));
      }
      rows.push_back(row);
    }
  }
  parallel::sorting(count, std::less<>(), [&](auto less) {
    if (!std::is_sorted(rows.begin(), rows.end(), less)) std::sort(rows.begin(), rows.end(), less);
  });
  parallel::sorting(count, std::equal_to<>(),
                    [&](auto equal) { rows.erase(std::unique(rows.begin(), rows.end(), equal), rows.end()); });
  AllowedRows allowed;
  allowed.kind_ = Kind::kList;
  allowed.count_ = rows.size();
  allowed.list_ = std::move(rows);
  return allowed;
}

void AllowedRows::positions(std::size_t first, std::size_t last, std::size_t& begin, std::size_t& end) const {
  if (kind_ != Kind::kList) {
    begin = first;
    end = last;
    return;
  }
  const auto place = [&](std::size_t row) {
    const auto at = std::lower_bound(list_.begin(), list_.end(), static_cast<std::int64_t>(row));
    return static_cast<std::size_t>(at - list_.begin());
  };
  begin = place(first);
  end = place(last);
}

bool AllowedRows::any(std::size_t first, std::size_t last) const {
  if (kind_ == Kind::kMask) {
    for (std::size_t r = first; r < last; ++r) {
      if (mask_[static_cast<std::ptrdiff_t>(r) * stride_] != 0) return true;
    }
    return false;
  }
  std::size_t begin = 0, end = 0;
  positions(first, last, begin, end);
  return begin < end;
}

std::size_t AllowedRows::keep(std::size_t first, std::uint32_t* numbers, float* bounds, std::size_t n) const {
  if (kind_ == Kind::kAll) return n;
  auto next = std::lower_bound(list_.begin(), list_.end(), static_cast<std::int64_t>(first));
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto row = static_cast<std::int64_t>(first + numbers[i]);
    bool is_allowed = false;
    if (kind_ == Kind::kMask) {
      is_allowed = mask_[row * stride_] != 0;
    } else {
      while (next != list_.end() && *next < row) ++next;
      is_allowed = next != list_.end() && *next == row;
    }
    numbers[kept] = numbers[i];
    bounds[kept] = bounds[i];
    kept += is_allowed;
  }
  return kept;
}

}  // namespace frazil
