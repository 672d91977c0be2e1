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

// What a thread's arithmetic is set to: how it rounds, whether subnormals count as zeros.
#if defined(__x86_64__) || defined(_M_X64)
using FloatModes = unsigned;
inline FloatModes float_modes() { return _mm_getcsr(); }
inline FloatModes default_float_modes() { return 0x1f80; }
inline void set_float_modes(const FloatModes& modes) { _mm_setcsr(modes); }
#elif defined(__aarch64__) || defined(_M_ARM64)
// The control register itself, not by fesetenv: glibc's keeps the bits that ask for another format of 16-bit floats and
// another NaN.
using FloatModes = std::uint64_t;
inline FloatModes float_modes() {
#if defined(_MSC_VER) && !defined(__clang__)
  return static_cast<std::uint64_t>(_ReadStatusReg(ARM64_FPCR));
#else
  std::uint64_t value;
  __asm__ volatile("mrs %0, fpcr" : "=r"(value));
  return value;
#endif
}
inline FloatModes default_float_modes() { return 0; }
inline void set_float_modes(const FloatModes& modes) {
  if (float_modes() == modes) return;  // writing is slow, and hardly ever needed
#if defined(_MSC_VER) && !defined(__clang__)
  _WriteStatusReg(ARM64_FPCR, static_cast<__int64>(modes));
#else
  __asm__ volatile("msr fpcr, %0" : : "r"(modes) : "memory");
#endif
}
#else
using FloatModes = std::fenv_t;
inline FloatModes float_modes() {
  FloatModes modes;
  std::fegetenv(&modes);
  return modes;
}
inline FloatModes default_float_modes() {
  const FloatModes before = float_modes();
  std::fesetenv(FE_DFL_ENV);
  const FloatModes modes = float_modes();
  std::fesetenv(&before);
  return modes;
}
inline void set_float_modes(const FloatModes& modes) { std::fesetenv(&modes); }
#endif

// Sets this thread's modes while it lives, whatever another library has set them to.
class FloatEnvironment {
 public:
  explicit FloatEnvironment(const FloatModes& modes) : before_(float_modes()) { set_float_modes(modes); }
  ~FloatEnvironment() { set_float_modes(before_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  const FloatModes before_;
};

// Rounds to nearest and keeps subnormals. Every operation makes one before its first arithmetic, and every pool thread
// before its work.
struct DefaultFloatEnvironment : FloatEnvironment {
  DefaultFloatEnvironment() : FloatEnvironment(default_float_modes()) {}
};

}  // namespace frazil
