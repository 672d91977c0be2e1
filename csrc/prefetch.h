// Asking for memory before it is needed. Only a hint: any address will do, also past the end of an array. All of it is
// inlined: a call of a function that does nothing else is one without effect to GCC 12, which leaves it out.
#pragma once

#include <cstddef>

#include "inline.h"

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace frazil {

static constexpr std::size_t kLineBytes = 64, kPageBytes = 4096;

// How far ahead codes are asked for in order, where that helps (ops/ahead.h): from 1 to 8 KB it then made no
// difference.
static constexpr std::size_t kPrefetchBytes = 4096;
// How many rows ahead the kept part of a row of floats is asked for: the hardware does not see past the part that is
// not kept. A kernel asks line by line as it works: asked for at once, most lines were dropped, and rows of halves, 512
// of each 1,536 bytes, took 2.4 times as long. On a Zen 4, 4 and 8 rows ahead were equal, 16 a tenth slower (halves: a
// fifth): what has been brought is driven out of the nearest cache again.
static constexpr std::size_t kPrefetchRows = 8;

// How many rows ahead the next one of a list is asked for.
static constexpr std::size_t kPrefetchPicked = 16;

// The lines of `bytes` bytes at `at`; Far: into the second-level cache, what is not needed soon. (Static: see
// format.h.)
template <bool Far = false>
[[maybe_unused]] FRAZIL_INLINE static inline void prefetch(const void* at, std::size_t bytes) {
  const char* const first = static_cast<const char*>(at);
  for (std::size_t i = 0; i < bytes; i += kLineBytes) {
#if defined(_MSC_VER) && defined(_M_X64)
    _mm_prefetch(first + i, Far ? _MM_HINT_T1 : _MM_HINT_T0);
#elif defined(_MSC_VER) && defined(_M_ARM64)
    __prefetch2(first + i, Far ? 2 : 0);  // PLDL2KEEP, PLDL1KEEP
#elif defined(__GNUC__)
    __builtin_prefetch(first + i, 0, Far ? 2 : 3);
#endif
  }
}

// What a scan of adjacent bytes asks for while it reads.
struct Ahead {
  enum Way { kNothing, kInOrder, kSpread } way = kNothing;
  std::ptrdiff_t distance = 0;  // kInOrder: from what is being read to what is asked for
};

// kSpread asks for a line of each of so many pages in turn, the ones after those that are being read, until all lines
// of all have been asked for. The prefetchers of Intel's CPUs bring up to 20 lines of what is read in order, for each
// page that they see: of eight pages more than of one.
static constexpr std::size_t kSpreadPages = 8;

// What packing asks for while it reads rows of floats (kernels/upcoming.h).
struct RowsAhead {
  Ahead::Way way = Ahead::kNothing;
  std::size_t row = 0;  // the number of the first row: rows are asked for in groups, which go on from call to call
};

// Asks for what lies ahead of the `bytes` bytes at `at`, which are being read.
[[maybe_unused]] FRAZIL_INLINE static inline void ask(const Ahead& ahead, const void* at, std::size_t bytes) {
  if (ahead.way == Ahead::kNothing) return;
  if (ahead.way == Ahead::kInOrder) return prefetch(static_cast<const char*>(at) + ahead.distance, bytes);
  constexpr std::size_t kWindow = kSpreadPages * kPageBytes;
  for (std::size_t i = 0; i < bytes; i += kLineBytes) {
    const std::size_t address = reinterpret_cast<std::size_t>(at) + i;
    // The next window's: this number's lowest bits choose the page.
    const std::size_t line = address % kWindow / kLineBytes;
    const std::size_t there = line % kSpreadPages * kPageBytes + line / kSpreadPages * kLineBytes;
    prefetch<true>(reinterpret_cast<const void*>(address - address % kWindow + kWindow + there), 1);
  }
}

}  // namespace frazil
