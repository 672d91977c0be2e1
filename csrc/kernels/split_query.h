// A query for the sets whose products of bytes are summed in 16 bits. In an unnamed namespace: see format.h.
#pragma once

#include "../kernel_table.h"

namespace frazil {
namespace {

// A query's entries by planes. Where rows hold 8 bits, each is taken apart, as 16 * high + low, both from -8 to 8: 8
// sums of two products of 255 * 8 fit into 16 bits, which one of 255 * 127 would not. Else they are `low`, as they are.
struct SplitEntries {
  const std::int8_t *low[2], *high[2];
};

template <Width W>
class SplitQuery {
 public:
  SplitQuery(const std::int8_t* query, std::size_t row_bytes) : entries{} {
    const std::size_t stride = plane_stride(row_bytes);
    if constexpr (W == kInt4) {
      entries.low[0] = query;
      entries.low[1] = query + stride;
    } else {
      for (std::size_t i = 0; i < planes(W) * stride; ++i) {
        const int high = (query[i] + 8) >> 4;
        high_[i] = static_cast<std::int8_t>(high);
        low_[i] = static_cast<std::int8_t>(query[i] - 16 * high);
      }
      for (std::size_t plane = 0; plane < planes(W); ++plane) {
        entries.low[plane] = low_ + plane * stride;
        entries.high[plane] = high_ + plane * stride;
      }
    }
  }
  SplitQuery(const SplitQuery&) = delete;
  SplitQuery& operator=(const SplitQuery&) = delete;

  SplitEntries entries;

 private:
  std::int8_t low_[W == kInt4 ? 1 : kMaxDim], high_[W == kInt4 ? 1 : kMaxDim];
};

}  // namespace
}  // namespace frazil
