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
Ahead::Way chosen(double in_order, double nothing, double spread, Report& report) {
  AheadTrialBy<Clock> trial(std::size_t{1} << 15);  // eight blocks a turn
  std::size_t tried[3] = {};
  Ahead::Way last = Ahead::kNothing;
  for (std::size_t block = 0; block < 1000; ++block) {
    const Ahead::Way way = trial.next();
    if (block < 24) report.check(way == Ahead::kInOrder, "a scan begins in order");
    if (block >= 24 && block < 144) ++tried[way];
    if (block > 200) report.check(way == last, "a scan keeps to what it has chosen");
    last = way;
    const double time = way == Ahead::kInOrder ? in_order : way == Ahead::kSpread ? spread : nothing;
    Clock::seconds += time * (block < 8 || block % 40 == 7 ? 100 : 1);
  }
  report.check(tried[0] == 40 && tried[1] == 40 && tried[2] == 40, "each way is tried as often");
  return last;
}

}  // namespace

void check_trials(Report& report) {
  report.begin("no set", "asking ahead");
  report.check(chosen(1.0, 1.5, 1.2, report) == Ahead::kInOrder, "asking in order is chosen where it is fastest");
  report.check(chosen(1.5, 1.0, 1.2, report) == Ahead::kNothing, "and nothing");
  report.check(chosen(1.5, 1.2, 1.0, report) == Ahead::kSpread, "and asking for several pages");
  report.check(chosen(1.0, 1.0, 1.0, report) == Ahead::kInOrder, "asking in order, where it makes no difference");
}

}  // namespace frazil::native
