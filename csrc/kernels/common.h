// What kernel files share. All of it static: see format.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace frazil {

[[maybe_unused]] static constexpr std::size_t smaller(std::size_t a, std::size_t b) { return a < b ? a : b; }

// Tiles take rows four bytes at a time: as many as an integer dot product sums into one 32-bit lane.
[[maybe_unused]] static constexpr std::size_t tile_steps(std::size_t row_bytes) { return (row_bytes + 3) / 4; }

// Four neighbouring entries of a query, to be broadcast.
[[maybe_unused]] static std::int32_t four_entries(const std::int8_t* query) {
  std::int32_t four;
  std::memcpy(&four, query, sizeof four);
  return four;
}

// The number of zeros below the lowest bit that is set; there must be one.
[[maybe_unused]] static std::uint32_t lowest_bit(std::uint32_t bits) {
#if defined(_MSC_VER)
  unsigned long position;
  _BitScanForward(&position, bits);
  return position;
#else
  return static_cast<std::uint32_t>(__builtin_ctz(bits));
#endif
}

}  // namespace frazil
