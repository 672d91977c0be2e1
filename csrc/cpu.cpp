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
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#define FRAZIL_ARM64 1
#if defined(__linux__)
#include <sys/auxv.h>

#include <fstream>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
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

constexpr long kTileData = 18;  // the number of these registers' state

// Whether processes that ask may use the tile registers: Linux 5.16 and later saves them for those alone.
bool saves_tiles() {
#if defined(__linux__)
  constexpr long kSupported = 0x1021;  // ARCH_GET_XCOMP_SUPP; headers may be older
  std::uint64_t states = 0;
  return syscall(SYS_arch_prctl, kSupported, &states) == 0 && (states >> kTileData & 1) != 0;
#else
  return false;
#endif
}

}  // namespace

bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

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
      const bool tiles = (saved & 0x60000) == 0x60000 && bit(seven.d, 24) && bit(seven.d, 25);
      if (tiles && saves_tiles()) features |= kAmxInt8;
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

#elif defined(FRAZIL_ARM64) && defined(__linux__)

std::uint32_t cpu_features() {
  // HWCAP_ASIMDDP and HWCAP2_I8MM, which old headers lack.
  constexpr unsigned long kCapDotProd = 1ul << 20, kCap2I8mm = 1ul << 13;
  std::uint32_t features = 0;
  if (getauxval(AT_HWCAP) & kCapDotProd) features |= kDotProd;
  if (getauxval(AT_HWCAP2) & kCap2I8mm) features |= kI8mm;
  return features;
}

// Linux knows Arm's cores by numbers only.
std::string cpu_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line, implementer;
  while (std::getline(cpuinfo, line)) {
    const auto colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.starts_with("CPU implementer")) implementer = line.substr(colon + 2);
    if (line.starts_with("CPU part")) return "Arm, implementer " + implementer + ", part " + line.substr(colon + 2);
  }
  return {};
}

#elif defined(FRAZIL_ARM64) && defined(__APPLE__)

namespace {

bool has(const char* feature) {
  std::int32_t value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(feature, &value, &size, nullptr, 0) == 0 && value != 0;
}

}  // namespace

std::uint32_t cpu_features() {
  std::uint32_t features = 0;
  if (has("hw.optional.arm.FEAT_DotProd")) features |= kDotProd;
  if (has("hw.optional.arm.FEAT_I8MM")) features |= kI8mm;
  return features;
}

std::string cpu_name() {
  std::array<char, 128> name{};
  std::size_t size = name.size() - 1;
  return sysctlbyname("machdep.cpu.brand_string", name.data(), &size, nullptr, 0) == 0 ? name.data() : "";
}

#elif defined(FRAZIL_ARM64) && defined(_WIN32)

std::uint32_t cpu_features() {
  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE and PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE, which old headers lack.
  constexpr DWORD kHasDotProd = 43, kHasI8mm = 66;
  std::uint32_t features = 0;
  if (IsProcessorFeaturePresent(kHasDotProd)) features |= kDotProd;
  if (IsProcessorFeaturePresent(kHasI8mm)) features |= kI8mm;
  return features;
}

std::string cpu_name() { return {}; }

#else

std::uint32_t cpu_features() { return 0; }
std::string cpu_name() { return {}; }

#endif

}  // namespace frazil
