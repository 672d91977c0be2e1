// Whether a scan is to ask for memory ahead.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>

namespace frazil {

// That depends on the CPU: on a Zen 3 and a Zen 5 a single query reads 1.1 to 1.6 times as fast so, on a Zen 4 0.7
// times, whose own prefetchers bring more at once than can be asked for. A scan therefore does its first blocks in
// turns, with and without, and the rest in whichever way was faster. One for each thread's scan; blocks are of one
// size.
template <class Clock>
class AheadTrialBy {
 public:
  // Whether to ask while the next block is read. To be called before each.
  bool next() {
    if (block_ < kBlocks && block_++ % kBlocksATurn == 0) begin_turn();
    return asks_;
  }

 private:
  static constexpr std::size_t kBlocksATurn = 8;
  static constexpr std::size_t kPairs = 7;                                          // of turns
  static constexpr std::size_t kFirst = 2;                                          // turns that do not count
  static constexpr std::size_t kBlocks = (kFirst + 2 * kPairs) * kBlocksATurn + 1;  // the last one ends the last turn
  // Asking is the default: what it may cost where it is not needed is less than what it gains where it is.
  static constexpr double kWorth = 1.03;

  void begin_turn() {
    const auto now = Clock::now();
    const std::size_t turn = block_ / kBlocksATurn;
    if (turn > kFirst) times_[(turn - kFirst - 1) % 2][(turn - kFirst - 1) / 2] = now - began_;
    began_ = now;
    asks_ = block_ < kBlocks ? turn % 2 == 0 : median(times_[0]).count() <= kWorth * median(times_[1]).count();
  }

  using Time = std::chrono::duration<double>;
  static Time median(std::array<Time, kPairs> times) {
    std::nth_element(times.begin(), times.begin() + kPairs / 2, times.end());
    return times[kPairs / 2];
  }

  std::size_t block_ = 0;
  bool asks_ = true;
  typename Clock::time_point began_;
  std::array<std::array<Time, kPairs>, 2> times_{};  // with, without
};
using AheadTrial = AheadTrialBy<std::chrono::steady_clock>;

}  // namespace frazil
