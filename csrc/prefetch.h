// Asking for memory before it is needed. Only a hint: any address will do, also past the end of an array.
#pragma once

#include <cstddef>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace frazil {

// How far ahead rows of codes are asked for, where that helps (ops/ahead.h): from 1 to 8 KB it then made no difference.
static constexpr std::size_t kPrefetchBytes = 4096;
// How many rows ahead the kept part of a row of floats is asked for: the hardware does not see past the part that is
// not kept. A kernel asks line by line as it works: asked for at once, most lines were dropped, and rows of halves, 512
// of each 1,536 bytes, took 2.4 times as long. On a Zen 4, 4 and 8 rows ahead were equal, 16 a tenth slower (halves: a
// fifth): what has been brought is driven out of the nearest cache again.
static constexpr std::ptrdiff_t kPrefetchRows = 8;

// How many rows ahead the next one of a list is asked for.
static constexpr std::size_t kPrefetchPicked = 16;

// How far from a row of codes the one to ask for lies, in the direction in which the rows are walked.
[[maybe_unused]] static inline std::ptrdiff_t prefetch_distance(std::size_t row_bytes, std::ptrdiff_t stride) {
  return static_cast<std::ptrdiff_t>((kPrefetchBytes + row_bytes - 1) / row_bytes) * stride;
}

// The lines of `bytes` bytes at `at`; Far: into the second-level cache, what is not needed soon. (Static: see
// format.h.)
template <bool Far = false>
[[maybe_unused]] static inline void prefetch(const void* at, std::size_t bytes) {
  const char* const first = static_cast<const char*>(at);
  for (std::size_t i = 0; i < bytes; i += 64) {
#if defined(_MSC_VER) && defined(_M_X64)
    _mm_prefetch(first + i, Far ? _MM_HINT_T1 : _MM_HINT_T0);
#elif defined(_MSC_VER) && defined(_M_ARM64)
    __prefetch2(first + i, Far ? 2 : 0);  // PLDL2KEEP, PLDL1KEEP
#elif defined(__GNUC__)
    __builtin_prefetch(first + i, 0, Far ? 2 : 3);
#endif
  }
}

}  // namespace frazil
