// The differential fuzzer as libFuzzer drives it: `make fuzz`.
#include <cstdlib>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace frazil::native;
  static const Sets sets = Sets::find();
  static Report report;
  static Fuzzer fuzzer(sets, report);
  fuzzer.one(data, size);
  if (report.all_failed() > 0) std::abort();
  return 0;
}
