// Whether scans find out if asking for memory ahead is worth it, by a clock of the test's own.
#include "../../csrc/ops/ahead.h"
#include "sets.h"

namespace frazil::native {
namespace {

struct Clock {
  using time_point = std::chrono::time_point<Clock, std::chrono::duration<double>>;
  static time_point now() { return time_point(std::chrono::duration<double>(seconds)); }
  static inline double seconds = 0;
};

// What a scan does after its trial, if a block takes so long; one in forty, and all of the first, take a hundred times
// as long, as where a page is not in memory yet.
bool chosen(double with, double without, Report& report) {
  AheadTrialBy<Clock> trial;
  std::size_t asked = 0;
  bool last = false;
  for (std::size_t block = 0; block < 1000; ++block) {
    const bool asks = trial.next();
    if (block < 128) asked += asks;
    if (block > 200) report.check(asks == last, "a scan keeps to what it has chosen");
    last = asks;
    Clock::seconds += (asks ? with : without) * (block < 8 || block % 40 == 7 ? 100 : 1);
  }
  report.check(asked == 64, "half of the trial's blocks ask");
  return last;
}

}  // namespace

void check_trials(Report& report) {
  report.begin("no set", "asking ahead");
  report.check(chosen(1.0, 1.5, report), "asking is chosen where it is faster");
  report.check(!chosen(1.5, 1.0, report), "and not where it is slower");
  report.check(chosen(1.0, 1.0, report), "and where it makes no difference");
}

}  // namespace frazil::native
