// Threads: a small pool that grows on demand and survives fork.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

namespace frazil::parallel {

// How many CPUs this process may use: its affinity, and its control group's quota rounded up. At least 1.
unsigned default_threads();

// Runs fn(0) on the calling thread and fn(1) … fn(slots - 1) on pool threads where those are free; returns when all
// that began have ended. Slots share work through a counter (see Chunks): some may never be called, so any one of them
// must be able to do all of it. The first exception is thrown again here. Pool threads run in the
// default floating-point environment.
void run(unsigned slots, const std::function<void(unsigned)>& fn);

// Hands out [0, total) in pieces, ascending, to whoever asks.
class Chunks {
 public:
  Chunks(std::size_t total, std::size_t size) : total_(total), size_(size) {}
  // The next piece; false if none is left.
  bool next(std::size_t& begin, std::size_t& end) {
    begin = next_.fetch_add(size_, std::memory_order_relaxed);
    if (begin >= total_) return false;
    end = total_ - begin < size_ ? total_ : begin + size_;
    return true;
  }

 private:
  const std::size_t total_, size_;
  std::atomic<std::size_t> next_{0};
};

// Has up to `slots` threads call fn(begin, end) for [0, total) in pieces of `size`; fn returns where it had to stop, or
// end. Returns the first stop of all, or total: what comes after the first stop need not have been looked at.
std::size_t first_stop(std::size_t total, std::size_t size, unsigned slots,
                       const std::function<std::size_t(std::size_t, std::size_t)>& fn);

// How many threads are worth waking for `work` units if each should have at least `least` of them.
unsigned worth(unsigned threads, std::size_t work, std::size_t least);

}  // namespace frazil::parallel
