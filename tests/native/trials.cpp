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

using Scan = AheadTrialBy<Clock, Ahead::kInOrder, Ahead::kNothing, Ahead::kSpread>;
using Pack = AheadTrialBy<Clock, Ahead::kInOrder, Ahead::kSpread>;

// What a scan of so many ways does after its trial, if a block takes so long; one in forty, and all of the first, take
// a hundred times as long, as where a page is not in memory yet.
template <class Trial>
Ahead::Way chosen(std::size_t ways, double in_order, double nothing, double spread, Report& report) {
  constexpr std::size_t kTurn = 8, kFirst = 3 * kTurn, kEach = 5 * kTurn;  // blocks
  Trial trial((std::size_t{1} << 18) / kTurn);
  std::size_t tried[3] = {};
  Ahead::Way last = Ahead::kNothing;
  for (std::size_t block = 0; block < 1000; ++block) {
    const Ahead::Way way = trial.next();
    if (block < kFirst) report.check(way == Ahead::kInOrder, "a scan begins in order");
    if (block >= kFirst && block < kFirst + ways * kEach) ++tried[way];
    if (block > kFirst + ways * kEach) report.check(way == last, "a scan keeps to what it has chosen");
    last = way;
    const double time = way == Ahead::kInOrder ? in_order : way == Ahead::kSpread ? spread : nothing;
    Clock::seconds += time * (block < kTurn || block % 40 == 7 ? 100 : 1);
  }
  report.check(tried[Ahead::kNothing] == (ways == 3 ? kEach : 0), "not asking is tried as often, or not at all");
  report.check(tried[Ahead::kInOrder] == kEach && tried[Ahead::kSpread] == kEach, "each way is tried as often");
  return last;
}

}  // namespace

void check_trials(Report& report) {
  report.begin("no set", "asking ahead");
  report.check(chosen<Scan>(3, 1.0, 1.5, 1.2, report) == Ahead::kInOrder,
               "asking in order is chosen where it is fastest");
  report.check(chosen<Scan>(3, 1.5, 1.0, 1.2, report) == Ahead::kNothing, "and nothing");
  report.check(chosen<Scan>(3, 1.5, 1.2, 1.0, report) == Ahead::kSpread, "and asking for several pages");
  report.check(chosen<Scan>(3, 1.0, 1.0, 1.0, report) == Ahead::kInOrder,
               "asking in order, where it makes no difference");
  report.check(chosen<Pack>(2, 1.0, 0.5, 1.1, report) == Ahead::kInOrder, "packing asks in order where that is faster");
  report.check(chosen<Pack>(2, 1.1, 0.5, 1.0, report) == Ahead::kSpread, "and for several rows");
}

}  // namespace frazil::native
