// Inlining that must happen.
#pragma once

#if defined(_MSC_VER) && !defined(__clang__)
#define FRAZIL_INLINE [[msvc::forceinline]]
#else
#define FRAZIL_INLINE __attribute__((always_inline))
#endif
