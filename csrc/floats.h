// 16-bit floats: binary16 and bfloat16, widened to binary32, which is exact. All of it static: see format.h.
#pragma once

#include <cstdint>
#include <cstring>

namespace frazil {

struct Half {
  std::uint16_t bits;
};
struct Bfloat16 {
  std::uint16_t bits;
};

[[maybe_unused]] static inline float float_of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

[[maybe_unused]] static inline float widen(float value) { return value; }
[[maybe_unused]] static inline double widen(double value) { return value; }
[[maybe_unused]] static inline float widen(Bfloat16 value) { return float_of_bits(std::uint32_t{value.bits} << 16); }
// By its fields: sign, 5 bits of exponent, 10 of fraction.
[[maybe_unused]] static inline float widen(Half value) {
  const std::uint32_t exponent = (value.bits >> 10) & 0x1fu, fraction = value.bits & 0x3ffu;
  float size;
  if (exponent == 0) {
    size = static_cast<float>(fraction) * 0x1p-24f;
  } else {  // 31 stands for infinity and NaN, as 255 does
    size = float_of_bits((exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13);
  }
  return value.bits & 0x8000u ? -size : size;
}

}  // namespace frazil
