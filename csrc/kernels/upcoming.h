// Memory that is asked for in passing. In an unnamed namespace: see format.h.
#pragma once

#include "../prefetch.h"
#include "common.h"

namespace frazil {
namespace {

// What comes next is asked for while something else is computed, Bytes at a time: reading and computing then overlap.
// Asked for all at once, it would keep the loads of the computation waiting.
template <std::size_t Bytes>
class Upcoming {
 public:
  // at: null for nothing; what is asked for then is `idle`, which is in the cache.
  Upcoming(const std::uint8_t* at, const std::uint8_t* idle)
      : at_(at != nullptr ? at : idle), step_(at != nullptr ? Bytes : 0) {}

  FRAZIL_INLINE void ask() {
    prefetch<true>(at_, Bytes);
    at_ += step_;
  }

  // As it is once so many more bytes have been asked for.
  Upcoming after(std::size_t bytes) const { return Upcoming(at_ + (step_ != 0 ? bytes : 0), step_); }

 private:
  Upcoming(const std::uint8_t* at, std::size_t step) : at_(at), step_(step) {}

  const std::uint8_t* at_;
  std::size_t step_;
};

}  // namespace
}  // namespace frazil
