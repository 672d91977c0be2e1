// Many threads searching and packing at once, and a process that forks: what ThreadSanitizer is to look at.
#include <atomic>
#include <memory>
#include <thread>

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "../../csrc/dispatch.h"
#include "operations.h"
#include "sets.h"

namespace frazil::native {
namespace {

// Every operation, each on several threads of the pool; how many digests were not the expected ones.
std::size_t wrong_digests(Operations& operations, const std::vector<std::uint64_t>& expected, std::size_t first) {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::size_t at = (first + i) % expected.size();
    wrong += operations.all()[at].second(2 + static_cast<unsigned>(at % 3)) != expected[at];
  }
  return wrong + !operations.intact();
}

}  // namespace

void run_threads(const Sets& sets, Report& report, Golden& golden, bool quick) {
  const unsigned n_callers = quick ? 2 : 6;
  for (const Set& set : sets.tested) {
    dispatch::force(set.name);
    report.begin(set.name.c_str(), "threads");
    std::vector<std::unique_ptr<Operations>> callers;  // each has memory of its own
    for (unsigned i = 0; i < n_callers; ++i) callers.push_back(std::make_unique<Operations>(format_of(kInt4, 256)));
    std::vector<std::uint64_t> expected;
    for (const auto& [name, operation] : callers[0]->all()) {
      expected.push_back(operation(1));
      golden.check(report, name, expected.back());
    }
    std::atomic<std::size_t> wrong{0};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < n_callers; ++i) {
      threads.emplace_back([&, i] { wrong += wrong_digests(*callers[i], expected, 5 * i); });
    }
    for (std::thread& thread : threads) thread.join();
    report.check(wrong == 0, "every thread gets the same");
#if !defined(_WIN32)
    const pid_t child = fork();  // the pool's threads do not come with it
    if (child == 0) _exit(wrong_digests(*callers[0], expected, 0) == 0 ? 0 : 1);
    int status = 0;
    const bool ended = child > 0 && waitpid(child, &status, 0) == child;
    report.check(ended && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child gets the same");
    report.check(wrong_digests(*callers[1], expected, 3) == 0, "so does its parent afterwards");
#endif
  }
}

}  // namespace frazil::native
