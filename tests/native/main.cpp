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
#include "sets.h"

namespace frazil::native {
namespace {

constexpr const char* kUsage =
    "usage: frazil_native [options]\n"
    "  --list               the sets compiled in, and those that this CPU runs\n"
    "  --require A,B,C      fail unless these sets run here\n"
    "  --only SET           test one set alone\n"
    "  --quick              fewer sizes, for emulators; the golden digests are the same\n"
    "  --golden DIR         where the golden digests are\n"
    "  --write-golden DIR   write them, by `scalar`\n";

struct Options {
  bool list = false, quick = false, writing = false;
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
  if (options.writing && options.quick) fail_usage("--write-golden: not with --quick, which leaves digests out");
  return options;
}

void print_sets(const char* what, const std::vector<std::string>& names) {
  std::printf("%s:", what);
  for (const std::string& name : names) std::printf(" %s", name.c_str());
  std::printf("\n");
}

// The tables as dispatch completes them: each must be the one that was asked for.
Sets find_sets(const std::string& only) {
  const auto table = [](const std::string& name) {
    dispatch::force(name);
    const Kernels& kernels = dispatch::table();
    if (kernels.name != name) fail_usage("forced " + name + ", got " + kernels.name);
    return &kernels;
  };
  Sets sets;
  for (const auto& [name, slots] : dispatch::slots()) {
    if (!only.empty() && name != only) continue;
    Set set{name, table(name), slots.size(), 0, {}};
    for (const auto& [slot, origin] : slots) {
      set.own_slots += origin == name;
      if (origin != name && only.empty()) set.left_to_it.push_back(slot);
    }
    sets.tested.push_back(std::move(set));
  }
  sets.scalar = table("scalar");
  return sets;
}

int run(const Options& options) {
  const auto runnable = dispatch::runnable();
  std::printf("CPU: %s\n", cpu_name().c_str());
  print_sets("compiled in", dispatch::compiled());
  print_sets("runnable", runnable);
  if (options.list) return 0;
  for (const std::string& name : options.require) {
    if (std::find(runnable.begin(), runnable.end(), name) != runnable.end()) continue;
    std::printf("FAILED: required, but not runnable here: %s\n", name.c_str());
    return 1;
  }
  const Sets sets = find_sets(options.only);
  if (sets.tested.empty()) fail_usage("--only: no such set runs here: " + options.only);

  Report report;
  report.name_case_on_signals();
  Golden kernels(options.golden + "/kernels.txt", options.writing);
  sweep_kernels(sets, report, kernels, options.quick);
  sweep_selections(sets, report, kernels, options.quick);
  kernels.finish();

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
