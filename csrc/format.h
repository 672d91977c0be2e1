// What a code is: bits, levels, row bytes, where a dimension lies in a row. docs/format.md is the specification.
#pragma once

#include <cstddef>
#include <cstdint>

namespace frazil {

inline constexpr std::size_t kMinDim = 2;
inline constexpr std::size_t kMaxDim = 4096;
inline constexpr double kMinLimit = 1e-6;
inline constexpr double kMaxLimit = 1e6;

// What a row's bytes hold, also the index of every per-width table: codes of 4 bits, of 8, or of 4 whose levels are
// spaced as values of unit vectors are (docs/format.md §1), each of which stands for one of 16 of the 256 levels of
// 8-bit codes. Only what multiplies integers knows the last: all else is given such rows as 8-bit codes
// (ops/expand.h).
enum Width : int { kInt4 = 0, kInt8 = 1, kNormal4 = 2 };
inline constexpr int kWidths = 2;
inline constexpr int kDotWidths = 3;

// Static, not inline, as all that kernels use (see below).
[[maybe_unused]] static constexpr std::uint8_t kNormalLevels[16] = {0,   31,  52,  69,  84,  97,  109, 122,
                                                                    133, 146, 158, 171, 186, 203, 224, 255};

struct Format {
  std::size_t dim;
  Width width;
  double limit;

  constexpr int bits() const { return width == kInt8 ? 8 : 4; }
  constexpr int last() const { return (1 << bits()) - 1; }  // the largest code
  // How many steps lie between the lowest and the highest level.
  constexpr int levels() const { return width == kInt4 ? 15 : 255; }
  constexpr std::size_t row_bytes() const { return width == kInt8 ? dim : dim / 2; }
  // What rows are once normal levels are 8-bit codes: all arithmetic is that of those.
  constexpr Format expanded() const { return width == kNormal4 ? Format{dim, kInt8, limit} : *this; }
  // From a value of a unit vector to steps, 1 / c.
  double steps_per_unit() const { return levels() / (2 * limit); }
  // Half a step, c / 2: a level stands for (2 * level - levels) * half_step().
  double half_step() const { return limit / levels(); }
};

// Kernels see a row as planes of dimensions that lie at the same place in each byte: for 4 bits the even dimensions
// (high nibbles), then the odd ones; for 8 bits a single plane. Queries are stored by planes, each padded with zeros to
// kPlaneAlign entries, so that whatever a kernel multiplies past the end of a row counts nothing.
// These are static, not inline: kernels use them, and of an inline function that several files compile with different
// flags the linker keeps one copy, which may be one that this CPU cannot run.
static constexpr std::size_t kPlaneAlign = 64;
[[maybe_unused]] static constexpr std::size_t planes(Width width) { return width == kInt8 ? 1 : 2; }
[[maybe_unused]] static constexpr std::size_t plane_stride(std::size_t row_bytes) {
  return (row_bytes + kPlaneAlign - 1) / kPlaneAlign * kPlaneAlign;
}
// Where dimension `i` lies in a query stored by planes.
[[maybe_unused]] static constexpr std::size_t plane_position(Width width, std::size_t row_bytes, std::size_t i) {
  return width == kInt8 ? i : (i % 2) * plane_stride(row_bytes) + i / 2;
}

// The code of dimension i of a row.
template <Width W>
[[maybe_unused]] static constexpr int code_at(const std::uint8_t* row, std::size_t i) {
  if constexpr (W == kInt8) return row[i];
  return (row[i / 2] >> (i % 2 ? 0 : 4)) & 15;
}

}  // namespace frazil
