// The instruction sets under test, and what each is put through.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "../../csrc/kernel_table.h"
#include "report.h"

namespace frazil::native {

struct Set {
  std::string name;
  const Kernels* kernels;               // with every slot filled
  std::size_t slots, own_slots;         // how many of them are the set's own
  std::vector<std::string> left_to_it;  // slots inherited from a set that is tested, too

  bool tests(const std::string& slot) const {
    return std::find(left_to_it.begin(), left_to_it.end(), slot) == left_to_it.end();
  }
};

struct Sets {
  // The runnable sets, best first, or the one of that name: the tables as dispatch completes them, and each is the one
  // that was asked for.
  static Sets find(const std::string& only = {});

  std::vector<Set> tested;
  const Kernels* scalar;  // what the others are compared with, tested or not
};

// Every kernel over all sizes, places and extremes. A result is the beginning of a longer one, of which `golden` has
// the digest. `quick`: fewer sizes, for emulators.
void sweep_kernels(const Sets& sets, Report& report, Golden& golden, bool quick);
void sweep_refining(const Sets& sets, Report& report, Golden& golden, bool quick);
void sweep_selections(const Sets& sets, Report& report, Golden& golden, bool quick);

// Checks what chooses, in no set.
void check_trials(Report& report);

// Many threads at once, and a forked child.
void run_threads(const Sets& sets, Report& report, Golden& golden, bool quick);

// Whole operations, by the set that is forced, with one and several threads.
void run_operations(const Sets& sets, Report& report, Golden& golden, bool quick);

}  // namespace frazil::native
