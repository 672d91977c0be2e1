#include "cpu.h"

#include <array>
#include <cstring>

#if defined(__x86_64__) || defined(_M_X64)
#define FRAZIL_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace frazil {

#if defined(FRAZIL_X86)
namespace {

struct Registers {
  std::uint32_t a, b, c, d;
};

Registers cpuid(std::uint32_t leaf, std::uint32_t sub_leaf = 0) {
#if defined(_MSC_VER)
  int r[4];
  __cpuidex(r, static_cast<int>(leaf), static_cast<int>(sub_leaf));
  return {static_cast<std::uint32_t>(r[0]), static_cast<std::uint32_t>(r[1]), static_cast<std::uint32_t>(r[2]),
          static_cast<std::uint32_t>(r[3])};
#else
  Registers r{};
  __cpuid_count(leaf, sub_leaf, r.a, r.b, r.c, r.d);
  return r;
#endif
}

// The register sets that the operating system saves (XCR0).
std::uint64_t saved_registers() {
#if defined(_MSC_VER) && !defined(__clang__)
  return _xgetbv(0);
#else
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
#endif
}

constexpr bool bit(std::uint32_t word, int n) { return (word >> n) & 1; }

}  // namespace

std::uint32_t cpu_features() {
  const std::uint32_t leaves = cpuid(0).a;
  const Registers one = cpuid(1), seven = leaves >= 7 ? cpuid(7) : Registers{};
  std::uint32_t features = 0;
  if (bit(one.c, 9)) features |= kSsse3;  // registers that every 64-bit operating system saves
  if (bit(one.c, 19)) features |= kSse41;
  const std::uint64_t saved = bit(one.c, 27) ? saved_registers() : 0;  // OSXSAVE: xgetbv may be asked
  const bool ymm = (saved & 0x06) == 0x06;
  const bool zmm = (saved & 0xe6) == 0xe6;
  if (ymm && bit(one.c, 28)) {  // AVX
    if (bit(one.c, 12)) features |= kFma;
    if (bit(one.c, 29)) features |= kF16c;
    if (bit(seven.b, 5)) features |= kAvx2;
    if (seven.a >= 1 && bit(cpuid(7, 1).a, 4)) features |= kAvxVnni;
    if (zmm) {
      if (bit(seven.b, 16)) features |= kAvx512F;
      if (bit(seven.b, 17)) features |= kAvx512Dq;
      if (bit(seven.b, 30)) features |= kAvx512Bw;
      if (bit(seven.b, 31)) features |= kAvx512Vl;
      if (bit(seven.c, 11)) features |= kAvx512Vnni;
    }
  }
  return features;
}

std::string cpu_name() {
  if (cpuid(0x80000000u).a < 0x80000004u) return {};
  std::array<char, 49> name{};
  for (std::uint32_t i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002u + i);
    std::memcpy(name.data() + 16 * i, &r, sizeof r);
  }
  std::string text = name.data();
  const auto first = text.find_first_not_of(' ');
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

#else

std::uint32_t cpu_features() { return 0; }
std::string cpu_name() { return {}; }

#endif

}  // namespace frazil
