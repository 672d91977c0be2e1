// The floating-point environment that docs/format.md assumes.
#pragma once

#include <cfenv>

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace frazil {

// Rounds to nearest and keeps subnormals while it lives, whatever another library has set this thread to. Every
// operation makes one before its first arithmetic, and every pool thread before its work.
class DefaultFloatEnvironment {
 public:
#if defined(__x86_64__) || defined(_M_X64)
  DefaultFloatEnvironment() : before_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~DefaultFloatEnvironment() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#else
  DefaultFloatEnvironment() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&before_); }

 private:
  std::fenv_t before_;
#endif
 public:
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;
};

}  // namespace frazil
