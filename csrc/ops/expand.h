// Rows of normal levels (format.h) are read as the 8-bit codes that they stand for, a block at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../kernel_table.h"

namespace frazil {

// The code whose normal level is nearest to each 8-bit code, of two equally near ones the lower.
constexpr std::array<std::uint8_t, 256> nearest_normal_levels() {
  std::array<std::uint8_t, 256> nearest{};
  std::uint8_t code = 0;
  for (int level = 0; level < 256; ++level) {
    while (code < 15 && 2 * level > kNormalLevels[code] + kNormalLevels[code + 1]) ++code;
    nearest[static_cast<std::size_t>(level)] = code;
  }
  return nearest;
}
inline constexpr std::array<std::uint8_t, 256> kNearestNormal = nearest_normal_levels();

// Gives rows of Format::expanded(): those of normal levels in memory of its own, until the next call; others where they
// lie. One per thread.
class Expander {
 public:
  Expander(const Kernels& kernels, const Format& format)
      : kernels_(kernels), format_(format), expanded_(format.expanded()) {}

  const std::uint8_t* rows(const std::uint8_t* at, std::ptrdiff_t& stride, std::size_t n) {
    if (format_.width != kNormal4) return at;
    rows_.resize(n * format_.dim);
    kernels_.expand(at, stride, n, format_.row_bytes(), kNormalLevels, rows_.data());
    stride = static_cast<std::ptrdiff_t>(format_.dim);
    return rows_.data();
  }

  // Returns what writes the rows' scores for a float query; good until the next call.
  auto scores(const std::uint8_t* at, std::ptrdiff_t stride, std::size_t n) {
    at = rows(at, stride, n);
    return [=, this](const float* query, float* scores) {
      kernels_.float_rows[expanded_.width](at, stride, n, expanded_.row_bytes(), query,
                                           static_cast<float>(expanded_.half_step()), scores);
    };
  }

 private:
  const Kernels& kernels_;
  const Format format_, expanded_;
  std::vector<std::uint8_t> rows_;
};

}  // namespace frazil
