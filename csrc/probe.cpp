#include "probe.h"

#include <array>
#include <cstring>

namespace frazil {

std::uint64_t read_bytes(const std::uint8_t* at, std::size_t n) {
  // 16 independent sums, two cache lines: enough for the compiler's vectors to hide the adders' latency.
  std::array<std::uint64_t, 16> sums{};
  std::size_t i = 0;
  for (; i + sizeof sums <= n; i += sizeof sums) {
    std::array<std::uint64_t, 16> words;
    std::memcpy(words.data(), at + i, sizeof words);
    for (std::size_t j = 0; j < words.size(); ++j) sums[j] += words[j];
  }
  std::uint64_t total = 0;
  for (; i < n; ++i) total += at[i];
  for (const std::uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace frazil
