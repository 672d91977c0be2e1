// Threads: a small pool that grows on demand and survives fork. And how what they do is stopped from outside.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>

#include "float_environment.h"

namespace frazil::parallel {

// Goes on, or throws if this thread is to stop: because the host wants the operation that it is at work on ended (see
// Operation), or another thread of it has failed. Every loop that may take long calls it once for each piece of work,
// of a microsecond to some milliseconds.
void checkpoint();

class Operation;

// What a thread is at work on, while this lives; the innermost counts.
class Place {
 public:
  Place(const std::atomic<bool>* stop, Operation* operation);
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  const std::atomic<bool>* const stop;  // set when the thread is to stop, or null
  Operation* const operation;           // that it has begun, or null

 private:
  const Place* const outer_;
};

// An operation that its host may end. While one lives, the checkpoints of the thread that made it, and its waiting for
// other threads, call host(context) about every 50 ms; if that throws, the exception comes out of the operation, as
// soon as all its threads have stopped. What the operation was to write is undefined then. The host may begin
// operations itself. Without a host (null) nothing is asked.
class Operation {
 public:
  using Host = void (*)(void* context);
  static constexpr std::chrono::milliseconds kAskEvery{50};

  Operation(Host host, void* context);
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  // Asks, if it is time to. A look at the clock costs as much as scoring some rows, so most calls do not take one.
  void poll() {
    if (--skip_ == 0) look();
  }
  // Asks now.
  void ask();

 private:
  using Clock = std::chrono::steady_clock;

  void look();

  const Host host_;
  void* const context_;
  const FloatModes host_modes_;
  unsigned skip_ = 8, every_ = 1;       // polls until the clock is looked at, and between looks
  Clock::time_point looked_, asked_{};  // the latter not set before the first look
  const Place place_;
};

// How many CPUs this process may use: its affinity, and its control group's quota rounded up. At least 1.
unsigned default_threads();

// Runs fn(0) on the calling thread and fn(1) … fn(slots - 1) on pool threads where those are free; returns when all
// that began have ended. Slots share work through a counter (see Chunks): some may never be called, so any one of them
// must be able to do all of it. An exception in one stops the others at their next checkpoint and is thrown again here.
// Pool threads run in the default floating-point environment.
void run(unsigned slots, const std::function<void(unsigned)>& fn);

// Hands out [0, total) in pieces, ascending, to whoever asks; each time is a checkpoint.
class Chunks {
 public:
  Chunks(std::size_t total, std::size_t size) : total_(total), size_(size) {}
  // The next piece; false if none is left.
  bool next(std::size_t& begin, std::size_t& end) {
    checkpoint();
    begin = next_.fetch_add(size_, std::memory_order_relaxed);
    if (begin >= total_) return false;
    end = total_ - begin < size_ ? total_ : begin + size_;
    return true;
  }

 private:
  const std::size_t total_, size_;
  std::atomic<std::size_t> next_{0};
};

// Has up to `slots` threads call fn(slot, begin, end) for [0, total) in pieces of `size`; fn returns where it had to
// stop, or end. Returns the first stop of all, or total: what comes after the first stop need not have been looked at.
std::size_t first_stop(std::size_t total, std::size_t size, unsigned slots,
                       const std::function<std::size_t(unsigned, std::size_t, std::size_t)>& fn);

// Calls sort(order), which sorts, selects or compares n things. Where that may take long, some uses of the order are
// checkpoints.
template <class Order, class Sort>
void sorting(std::size_t n, Order order, Sort&& sort) {
  constexpr std::size_t kEvery = std::size_t{1} << 16;
  if (n <= kEvery) return sort(order);
  std::size_t uses = 0;
  sort([&](const auto& a, const auto& b) {
    if (++uses % kEvery == 0) checkpoint();
    return order(a, b);
  });
}

// How many threads are worth waking for `work` units if each should have at least `least` of them.
unsigned worth(unsigned threads, std::size_t work, std::size_t least);

}  // namespace frazil::parallel
