// The floating-point environment that docs/format.md assumes.
#pragma once

#include <cfenv>
#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#elif defined(_M_ARM64) && !defined(__clang__)
#include <intrin.h>
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
#elif defined(__aarch64__) || defined(_M_ARM64)
  // Not by fesetenv: glibc's keeps the bits that ask for another format of 16-bit floats and another NaN. Writing is
  // slow, and hardly ever needed.
  DefaultFloatEnvironment() : before_(control()) {
    if (before_ != 0) set_control(0);
  }
  ~DefaultFloatEnvironment() {
    if (before_ != 0) set_control(before_);
  }

 private:
  static std::uint64_t control() {
#if defined(_MSC_VER) && !defined(__clang__)
    return static_cast<std::uint64_t>(_ReadStatusReg(ARM64_FPCR));
#else
    std::uint64_t value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
#endif
  }
  static void set_control(std::uint64_t value) {
#if defined(_MSC_VER) && !defined(__clang__)
    _WriteStatusReg(ARM64_FPCR, static_cast<__int64>(value));
#else
    __asm__ volatile("msr fpcr, %0" : : "r"(value) : "memory");
#endif
  }

  std::uint64_t before_;
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
