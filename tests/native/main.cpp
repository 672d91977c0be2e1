// The native tests: every instruction set that this CPU runs, against `scalar` and the golden digests.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "../../csrc/cpu.h"
#include "../../csrc/dispatch.h"
#include "fuzz.h"
#include "sets.h"

namespace frazil::native {
namespace {

constexpr const char* kUsage =
    "usage: frazil_native [options]\n"
    "  --list               the sets compiled in, and those that this CPU runs\n"
    "  --require A,B,C      fail unless these sets run here\n"
    "  --only SET           test one set alone\n"
    "  --quick              fewer sizes, for emulators; the golden digests are the same\n"
    "  --emulated           not the tests by many threads: slow, and an emulator's threads are not the CPU's\n"
    "  --threads            only whole operations, by many threads at once: for ThreadSanitizer\n"
    "  --fuzz SECONDS       only inputs made at random, for so long\n"
    "  --seed N             of the first of them; each counts on by one\n"
    "  --golden DIR         where the golden digests are\n"
    "  --write-golden DIR   write them, by `scalar`\n";

struct Options {
  bool list = false, quick = false, emulated = false, threads = false, fuzz = false, writing = false;
  double seconds = 0;
  std::uint64_t seed = 1;
  std::vector<std::string> require;
  std::string only, golden = FRAZIL_GOLDEN;
};

[[noreturn]] void fail_usage(const std::string& what) {
  std::fprintf(stderr, "%s\n%s", what.c_str(), kUsage);
  std::exit(2);
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    if (comma > at) parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 == argc) fail_usage(name + ": expected a value");
      return argv[++i];
    };
    if (name == "--list") {
      options.list = true;
    } else if (name == "--quick") {
      options.quick = true;
    } else if (name == "--emulated") {
      options.emulated = true;
    } else if (name == "--threads") {
      options.threads = true;
    } else if (name == "--fuzz") {
      options.fuzz = true;
      options.seconds = std::atof(value().c_str());
    } else if (name == "--seed") {
      options.seed = std::strtoull(value().c_str(), nullptr, 10);
    } else if (name == "--require") {
      options.require = split(value());
    } else if (name == "--only") {
      options.only = value();
    } else if (name == "--golden") {
      options.golden = value();
    } else if (name == "--write-golden") {
      options.golden = value();
      options.writing = true;
    } else {
      fail_usage(name + ": no such option");
    }
  }
  if (options.writing && (options.quick || options.threads || options.fuzz)) {
    fail_usage("--write-golden: only with all tests, or digests are left out");
  }
  if (options.threads && options.emulated) fail_usage("--threads: not with --emulated, which leaves these tests out");
  return options;
}

void print_sets(const char* what, const std::vector<std::string>& names) {
  std::printf("%s:", what);
  for (const std::string& name : names) std::printf(" %s", name.c_str());
  std::printf("\n");
}

int run(const Options& options) {
  const auto runnable = dispatch::runnable();
  std::printf("CPU: %s\n", cpu_name().c_str());
  print_sets("compiled in", dispatch::compiled());
  print_sets("runnable", runnable);
  std::fflush(stdout);  // a kernel may kill the process
  if (options.list) return 0;
  for (const std::string& name : options.require) {
    if (std::find(runnable.begin(), runnable.end(), name) != runnable.end()) continue;
    std::printf("FAILED: required, but not runnable here: %s\n", name.c_str());
    return 1;
  }
  const Sets sets = Sets::find(options.only);
  if (sets.tested.empty()) fail_usage("--only: no such set runs here: " + options.only);

  Report report;
  report.name_case_on_signals();
#if defined(__x86_64__)
  for (const Set& set : sets.tested) {
    if (set.name != "amxint8") continue;
    report.begin("amxint8", "permission");
    report.check(may_use_tiles(), "AMX's registers may be used, or another set would do its work");
  }
#endif
  Golden kernels(options.golden + "/kernels.txt", options.writing);
  Golden operations(options.golden + "/operations.txt", options.writing);
  if (options.fuzz) {
    const std::uint64_t tests = Fuzzer(sets, report).loop(options.seconds, options.seed);
    std::printf("%" PRIu64 " inputs, from seed %" PRIu64 " on\n", tests, options.seed);
  } else {
    if (!options.threads) {
      sweep_kernels(sets, report, kernels, options.quick);
      sweep_refining(sets, report, kernels, options.quick);
      sweep_selections(sets, report, kernels, options.quick);
      run_operations(sets, report, operations, options.quick);
      check_trials(report);
    }
    if (!options.emulated) run_threads(sets, report, operations, options.quick);
    kernels.finish();
    operations.finish();
  }

  bool all_ran = true;
  for (const Set& set : sets.tested) {
    std::printf("%s: %zu of %zu slots its own, %zu passed, %zu failed\n", set.name.c_str(), set.own_slots, set.slots,
                report.passed(set.name), report.failed(set.name));
    if (report.passed(set.name) == 0) {
      std::printf("FAILED: nothing was checked for %s\n", set.name.c_str());
      all_ran = false;
    }
  }
  std::printf("%zu passed, %zu failed\n", report.all_passed(), report.all_failed());
  return all_ran && report.all_failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace frazil::native

int main(int argc, char** argv) try {
  return frazil::native::run(frazil::native::parse(argc, argv));
} catch (const std::exception& error) {
  std::fprintf(stderr, "frazil_native: %s\n", error.what());
  return 2;
}
