// The floating-point environment that docs/format.md assumes.
#pragma once

#include <cfenv>

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace frazil {

// What a thread's arithmetic is set to: how it rounds, whether subnormals count as zeros.
#if defined(__x86_64__) || defined(_M_X64)
using FloatModes = unsigned;
inline FloatModes float_modes() { return _mm_getcsr(); }
inline FloatModes default_float_modes() { return 0x1f80; }
inline void set_float_modes(const FloatModes& modes) { _mm_setcsr(modes); }
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
