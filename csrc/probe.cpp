#include "probe.h"

#include <array>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>

#include "dispatch.h"
#include "parallel.h"
#include "prefetch.h"

namespace frazil {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 18;

// 16 independent sums, two cache lines: enough for the compiler's vectors to hide the adders' latency.
using Sums = std::array<std::uint64_t, 16>;

// Asks for `ahead` bytes further on, if that is not 0.
void read(const std::uint8_t* at, std::size_t n, std::ptrdiff_t ahead, Sums& sums) {
  std::size_t i = 0;
  for (; i + sizeof(Sums) <= n; i += sizeof(Sums)) {
    if (ahead != 0) prefetch(at + i + ahead, sizeof(Sums));
    Sums words;
    std::memcpy(words.data(), at + i, sizeof words);
    for (std::size_t j = 0; j < words.size(); ++j) sums[j] += words[j];
  }
  for (; i < n; ++i) sums[0] += at[i];
}

// Calls fn(begin, end, sums) for pieces of [0, total) on all threads; returns the sum of all sums.
template <class Fn>
std::uint64_t sum_of(std::size_t total, std::size_t piece, unsigned threads, Fn&& fn) {
  std::atomic<std::uint64_t> sum{0};
  parallel::Chunks pieces(total, piece);
  parallel::run(threads, [&](unsigned) {
    Sums sums{};
    std::size_t begin = 0, end = 0;
    while (pieces.next(begin, end)) fn(begin, end, sums);
    for (const std::uint64_t one : sums) sum += one;
  });
  return sum;
}

}  // namespace

std::uint64_t read_bytes(const std::uint8_t* at, std::size_t n, unsigned threads) {
  return sum_of(n, kPieceBytes, threads,
                [&](std::size_t begin, std::size_t end, Sums& sums) { read(at + begin, end - begin, 0, sums); });
}

std::uint64_t read_rows(const std::uint8_t* at, std::size_t n, std::size_t kept, std::size_t stride, unsigned threads) {
  return sum_of(n, 256, threads, [&](std::size_t begin, std::size_t end, Sums& sums) {
    for (std::size_t r = begin; r < end; ++r) {
      read(at + r * stride, kept, static_cast<std::ptrdiff_t>(kPrefetchRows * stride), sums);
    }
  });
}

std::uint64_t dot_peak(std::uint64_t rounds, unsigned threads) {
  const Kernels& kernels = dispatch::table();
  alignas(64) std::array<std::uint8_t, kPeakBytes> codes;
  alignas(64) std::array<std::int8_t, kPeakBytes> query;
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i % 16);
  for (std::size_t i = 0; i < query.size(); ++i) query[i] = static_cast<std::int8_t>(i % 128);
  std::atomic<std::uint64_t> products{0};
  parallel::Chunks shares(threads, 1);
  parallel::run(threads, [&](unsigned) {
    std::size_t begin = 0, end = 0;
    while (shares.next(begin, end)) {
      alignas(64) std::array<std::int32_t, kPeakSums> sums;
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = static_cast<std::int32_t>(i);
      const std::uint64_t done = kernels.dot_peak(rounds, codes.data(), query.data(), sums.data());
      if (done == 0 && rounds > 0) {
        throw std::runtime_error(std::string(kernels.name) + ": this process may not use its registers");
      }
      products += done;
    }
  });
  return products;
}

}  // namespace frazil
