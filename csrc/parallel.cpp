#include "parallel.h"

#include <algorithm>
#include <bit>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <fstream>
#include <mutex>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(_WIN32)
#include <windows.h>
#else
#include <pthread.h>
#include <signal.h>
#endif

namespace frazil::parallel {
namespace {

constexpr unsigned kMaxThreads = 1024;

// The innermost place of each thread, or null. Not thread_local where there is another way: in a library that is loaded
// later, glibc allocates such variables when a thread first uses them, and ends the process where there is no memory.
#if defined(_WIN32)
thread_local const Place* the_place = nullptr;
const Place* place() { return the_place; }
void set_place(const Place* now) { the_place = now; }
#else
struct Key {
  Key() : made(pthread_key_create(&key, nullptr) == 0) {}
  pthread_key_t key;
  const bool made;  // else all keys are in use: nothing is ever stopped
} const the_key;
const Place* place() { return the_key.made ? static_cast<const Place*>(pthread_getspecific(the_key.key)) : nullptr; }
void set_place(const Place* now) {
  if (the_key.made && pthread_setspecific(the_key.key, now) != 0) throw std::bad_alloc();
}
#endif

// Thrown by checkpoints where another thread has failed: that one's exception is what counts.
struct Stopped {};

std::atomic<unsigned> forks{0};  // that this process is a child of

// The clock is looked at often enough to ask in time, and so seldom that it costs nothing.
constexpr std::chrono::milliseconds kLookEvery{1};
constexpr unsigned kMostSkipped = 32;

// A thread started meanwhile takes no signals: they are for the threads of the program that we are guests in.
class SignalsBlocked {
 public:
#if defined(_WIN32)
  SignalsBlocked() {}  // no signals either
#else
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;

 public:
#endif
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
};

struct Job {
  const std::function<void(unsigned)>& fn;
  const unsigned slots;
  unsigned next = 1;           // the next slot to begin
  unsigned running = 0;        // pool threads inside fn
  std::exception_ptr error{};  // the first of a pool thread
  std::atomic<bool> stop{false};
};

class Pool {
 public:
  void run(Job& job) {
    const unsigned forks_before = forks;
    {
      std::unique_lock lock(mutex_);
      grow(job.slots - 1);
      jobs_.push_back(&job);
    }
    for (unsigned i = 1; i < job.slots; ++i) work_.notify_one();
    std::exception_ptr error = call(job, 0);
    // In a forked child this is the parent's pool, which may be locked for good.
    if (forks != forks_before) std::rethrow_exception(error);
    std::unique_lock lock(mutex_);
    // Slots that nobody began are not needed any more: slot 0 has run out of work.
    if (const auto it = std::find(jobs_.begin(), jobs_.end(), &job); it != jobs_.end()) jobs_.erase(it);
    const auto done = [&] { return job.running == 0; };
    const Place* const here = place();
    while (!error && here && here->operation && !done_.wait_for(lock, Operation::kAskEvery, done)) {
      lock.unlock();
      error = attempt(job, [&] { here->operation->ask(); });
      if (forks != forks_before) std::rethrow_exception(error);
      lock.lock();
    }
    done_.wait(lock, done);
    if (!error) error = job.error;
    if (error) std::rethrow_exception(error);
  }

 private:
  // Calls fn as a part of the job, which is stopped if it fails. Returns how, unless it was stopped itself.
  template <class Fn>
  std::exception_ptr attempt(Job& job, Fn&& fn) {
    std::exception_ptr error;
    try {
      const Place* const outer = place();
      const Place inner(&job.stop, outer ? outer->operation : nullptr);
      fn();
    } catch (const Stopped&) {
    } catch (...) {
      error = std::current_exception();
      job.stop = true;
    }
    return error;
  }

  std::exception_ptr call(Job& job, unsigned slot) {
    const DefaultFloatEnvironment environment;
    return attempt(job, [&] { job.fn(slot); });
  }

  void grow(unsigned wanted) {
    while (threads_ < std::min(wanted, kMaxThreads)) {
      const SignalsBlocked blocked;
      try {
        std::thread([this] { work(); }).detach();
      } catch (const std::exception&) {
        return;  // no more threads, or no memory for them, to be had: those that there are do the work
      }
      ++threads_;
    }
  }

  [[noreturn]] void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [&] { return !jobs_.empty(); });
      Job& job = *jobs_.front();
      const unsigned slot = job.next++;
      if (job.next == job.slots) jobs_.pop_front();
      ++job.running;
      lock.unlock();
      std::exception_ptr error = call(job, slot);
      lock.lock();
      if (!job.error) job.error = std::move(error);
      error = nullptr;
      if (--job.running == 0) done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::deque<Job*> jobs_;
  unsigned threads_ = 0;
};

// Never destroyed: its threads sleep in it until the process ends. A forked child has none of those threads, so it
// leaves the parent's pool alone, whatever state its locks were in, and makes one of its own.
std::atomic<Pool*> the_pool{nullptr};

#if !defined(_WIN32)
const int fork_handler = pthread_atfork(nullptr, nullptr, [] {
  the_pool.store(nullptr, std::memory_order_relaxed);
  ++forks;
});
#endif

Pool& pool() {
  Pool* now = the_pool.load(std::memory_order_acquire);
  if (now == nullptr) {
    Pool* const fresh = new Pool;
    if (the_pool.compare_exchange_strong(now, fresh, std::memory_order_acq_rel)) return *fresh;
    delete fresh;
  }
  return *now;
}

unsigned allowed_cpus() {
#if defined(__linux__)
  // The mask may be larger than cpu_set_t on machines of more than 1,024 CPUs.
  for (int cpus = CPU_SETSIZE; cpus <= (1 << 20); cpus *= 4) {
    cpu_set_t* const set = CPU_ALLOC(static_cast<std::size_t>(cpus));
    if (set == nullptr) break;
    const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
    const int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return static_cast<unsigned>(count);
  }
#elif defined(_WIN32)
  // Of the processor group that the process is in, which is where its threads start: at most 64 CPUs.
  DWORD_PTR process = 0, machine = 0;
  if (GetProcessAffinityMask(GetCurrentProcess(), &process, &machine) != 0 && process != 0) {
    return static_cast<unsigned>(std::popcount(process));
  }
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

#if defined(__linux__)
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// CPUs granted by the file(s) of one control group, rounded up; 0 for no limit.
unsigned group_quota(const std::string& folder) {
  double quota = 0, period = 0;
  if (std::istringstream v2(first_line(folder + "/cpu.max")); v2 >> quota >> period) {
  } else {
    quota = std::atof(first_line(folder + "/cpu.cfs_quota_us").c_str());
    period = std::atof(first_line(folder + "/cpu.cfs_period_us").c_str());
  }
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<unsigned>(std::clamp((quota + period - 1) / period, 1.0, 1e6));
}

// The tightest quota from this process's control group up to the root; 0 for none.
unsigned read_quota() {
  unsigned tightest = 0;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // hierarchy:controllers:path
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string root = "/sys/fs/cgroup", path = line.substr(second + 1);
    if (!controllers.empty()) {
      if (("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
      root += "/cpu";
    }
    for (;;) {
      if (const unsigned quota = group_quota(root + path)) tightest = tightest ? std::min(tightest, quota) : quota;
      const auto slash = path.rfind('/');
      if (slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return tightest;
}
#else
unsigned read_quota() { return 0; }
#endif

}  // namespace

Place::Place(const std::atomic<bool>* when, Operation* begun) : stop(when), operation(begun), outer_(place()) {
  set_place(this);
}
Place::~Place() { set_place(outer_); }  // which does not fail where it has worked before

void checkpoint() {
  const Place* const here = place();
  if (here == nullptr) return;
  if (here->stop && here->stop->load(std::memory_order_relaxed)) throw Stopped{};
  if (here->operation) here->operation->poll();
}

Operation::Operation(Host host, void* context)
    : host_(host), context_(context), host_modes_(float_modes()), place_(nullptr, host ? this : nullptr) {}

void Operation::look() {
  const auto now = Clock::now();
  if (asked_ == Clock::time_point{}) {
    asked_ = now;
  } else {
    every_ = now - looked_ < kLookEvery ? std::min(2 * every_, kMostSkipped) : 1;
  }
  looked_ = now;
  skip_ = every_;
  if (now - asked_ >= kAskEvery) ask();
}

void Operation::ask() {
  const unsigned forks_before = forks;
  {
    const FloatEnvironment environment(host_modes_);
    host_(context_);
  }
  asked_ = Clock::now();
  if (forks != forks_before && place()->stop) {
    throw std::runtime_error("forked by a signal handler, in the middle of an operation of several threads");
  }
}

unsigned default_threads() {
  // Files: read once, or twice by two threads; a lock might be held by another thread when this one forks.
  static std::atomic<int> known{-1};
  if (known < 0) known = static_cast<int>(read_quota());
  const auto quota = static_cast<unsigned>(known.load());
  const unsigned cpus = allowed_cpus();
  return quota ? std::min(cpus, quota) : cpus;
}

void run(unsigned slots, const std::function<void(unsigned)>& fn) {
  if (slots <= 1) return fn(0);
  Job job{fn, std::min(slots, kMaxThreads + 1)};
  pool().run(job);
}

std::size_t first_stop(std::size_t total, std::size_t size, unsigned slots,
                       const std::function<std::size_t(unsigned, std::size_t, std::size_t)>& fn) {
  Chunks chunks(total, size);
  std::atomic<std::size_t> first{total};
  run(slots, [&](unsigned slot) {
    std::size_t begin = 0, end = 0;
    // Pieces come in order, so that every piece before the first stop is looked at.
    while (chunks.next(begin, end) && begin < first.load(std::memory_order_relaxed)) {
      const std::size_t stop = fn(slot, begin, end);
      if (stop == end) continue;
      std::size_t known = first.load(std::memory_order_relaxed);
      while (stop < known && !first.compare_exchange_weak(known, stop, std::memory_order_relaxed)) {
      }
    }
  });
  return first;
}

unsigned worth(unsigned threads, std::size_t work, std::size_t least) {
  return static_cast<unsigned>(std::clamp<std::size_t>(work / least, 1, std::max(threads, 1u)));
}

}  // namespace frazil::parallel
