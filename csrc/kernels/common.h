// What kernel files share. All of it static: see format.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

#include "../inline.h"

#if defined(_MSC_VER) && !defined(__clang__)
#define FRAZIL_IN_PLACE(vector)
#else
// The vector has its value now, in a register. GCC 12 otherwise gathers a loop's products first and copies each sum to
// another register and back. (The cast: Clang's lambdas do not capture what stands in an asm statement alone.)
#if defined(__aarch64__)
#define FRAZIL_IN_PLACE(vector)          \
  do {                                   \
    static_cast<void>(vector);           \
    __asm__ volatile("" : "+w"(vector)); \
  } while (false)
#else
#define FRAZIL_IN_PLACE(vector) \
  do {                          \
    static_cast<void>(vector);  \
    __asm__("" : "+v"(vector)); \
  } while (false)
#endif
#endif

namespace frazil {

// Calls fn with 0, 1 … N - 1 as constants. An array of vectors that is only used by such indices lives in registers,
// if fn is FRAZIL_INLINE; loops are unrolled too late for that, and lambdas inlined.
template <std::size_t N, class Fn>
FRAZIL_INLINE static inline void for_each_index(Fn&& fn) {
  [&]<std::size_t... I>(std::index_sequence<I...>)
      FRAZIL_INLINE { (fn(std::integral_constant<std::size_t, I>{}), ...); }(std::make_index_sequence<N>{});
}

[[maybe_unused]] static constexpr std::size_t smaller(std::size_t a, std::size_t b) { return a < b ? a : b; }

// Calls fn(first, size) for blocks of n in all, as many as there are of the first of the sizes, then of the next; sizes
// are constants, the last is 1.
template <std::size_t... Sizes, class Fn>
FRAZIL_INLINE static inline void in_blocks_of(std::size_t n, Fn&& fn) {
  std::size_t first = 0;
  const auto blocks = [&](auto size) FRAZIL_INLINE {
    for (; n - first >= size; first += size) fn(first, size);
  };
  (blocks(std::integral_constant<std::size_t, Sizes>{}), ...);
}

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
