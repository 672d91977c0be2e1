// What this CPU, and the operating system on it, can run.
#pragma once

#include <cstdint>
#include <string>

namespace frazil {

enum CpuFeature : std::uint32_t {
  kF16c = 1u << 0,
  kFma = 1u << 1,
  kAvx2 = 1u << 2,
  kAvx512F = 1u << 3,
  kAvx512Bw = 1u << 4,
  kAvx512Dq = 1u << 5,
  kAvx512Vl = 1u << 6,
  kAvx512Vnni = 1u << 7,
  kAvxVnni = 1u << 8,
  kSsse3 = 1u << 9,
  kSse41 = 1u << 10,
  kDotProd = 1u << 11,
  kI8mm = 1u << 12,
  kAmxInt8 = 1u << 13,
};

// The features that the CPU has and whose registers the operating system saves.
std::uint32_t cpu_features();

// Asks for permission to use AMX's tile registers, once; false if it is refused. For CPUs that have kAmxInt8. What asks
// for is larger from then on: Linux refuses alternate signal stacks that these registers do not fit on (some 12 KB),
// and refuses the registers where a thread has a smaller one already. So nobody asks before there is something to
// multiply.
bool may_use_tiles();

// The CPU's own name for itself; empty where it has none.
std::string cpu_name();

}  // namespace frazil
