// How a scan is to ask for memory ahead.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>

#include "../prefetch.h"

namespace frazil {

// That depends on the CPU. On a Zen 3 and a Zen 5 a single query reads 1.1 to 1.6 times as fast if it asks in order, on
// a Zen 4 0.7 times, whose own prefetchers bring more at once than can be asked for; on a Sapphire Rapids 1.3 times,
// and asking for eight pages in turn 1.8 times; packing floats is then 1.4 times as fast, packing halves hardly faster.
// A scan therefore does some of its first blocks in turns, one way after the other, and the rest in whichever was
// fastest. One for each thread's scan; blocks are of one size. Of the ways, the first is the default.
template <class Clock, Ahead::Way... Ways>
class AheadTrialBy {
 public:
  explicit AheadTrialBy(std::size_t block_bytes)
      : blocks_a_turn_(std::max<std::size_t>(kTurnBytes / block_bytes, 2)), blocks_before_(blocks_a_turn_ / 4) {}

  // How to ask while the next block is read. To be called before each.
  Ahead::Way next() {
    if (turn_ > kTurns) return way_;
    const std::size_t block = block_++ % blocks_a_turn_;
    if (block == 0) begin_turn();
    if (block == blocks_before_) began_ = Clock::now();
    return way_;
  }

 private:
  static constexpr Ahead::Way kWays[] = {Ways...};
  static constexpr std::size_t kWayCount = sizeof...(Ways);
  static constexpr std::size_t kTurnBytes = std::size_t{1} << 18;  // eight times what is asked for at a time
  static constexpr std::size_t kRounds = 5;
  static constexpr std::size_t kFirst = 3;  // turns that do not count, done by default
  static constexpr std::size_t kTurns = kFirst + kWayCount * kRounds;
  static constexpr double kWorth = 1.03;  // so much faster than the default another way must be

  void begin_turn() {
    if (turn_ > kFirst) {
      const std::size_t last = turn_ - 1 - kFirst;
      times_[last % kWayCount][last / kWayCount] = Clock::now() - began_;
    }
    way_ = turn_ < kFirst ? kWays[0] : turn_ < kTurns ? kWays[(turn_ - kFirst) % kWayCount] : fastest();
    ++turn_;
  }

  using Time = std::chrono::duration<double>;
  static Time median(std::array<Time, kRounds> times) {
    std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
    return times[kRounds / 2];
  }

  Ahead::Way fastest() const {
    std::size_t best = 0;
    Time least = median(times_[0]) / kWorth;
    for (std::size_t i = 1; i < kWayCount; ++i) {
      if (const Time time = median(times_[i]); time < least) {
        least = time;
        best = i;
      }
    }
    return kWays[best];
  }

  const std::size_t blocks_a_turn_;
  const std::size_t blocks_before_;  // of a turn, which do not count: the turn before has asked for some of them
  std::size_t block_ = 0, turn_ = 0;
  Ahead::Way way_ = kWays[0];
  typename Clock::time_point began_;
  std::array<std::array<Time, kRounds>, kWayCount> times_{};
};
using AheadTrial = AheadTrialBy<std::chrono::steady_clock, Ahead::kInOrder, Ahead::kNothing, Ahead::kSpread>;
// Of rows of floats the CPU's own prefetchers bring too little: not asking, a Sapphire Rapids packs at 0.6 of the
// speed.
using PackTrial = AheadTrialBy<std::chrono::steady_clock, Ahead::kInOrder, Ahead::kSpread>;

}  // namespace frazil
