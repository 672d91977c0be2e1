#include "report.h"

#include <algorithm>
#include <cinttypes>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace frazil::native {
namespace {

constexpr std::size_t kPrinted = 20;  // failures
const Report* named_on_signals = nullptr;

void on_signal(int signal) {
  std::fprintf(stderr, "killed by signal %d: ", signal);
  named_on_signals->print_case(stderr);
  std::fflush(stderr);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

void Report::name_case_on_signals() {
  named_on_signals = this;
  for (const int signal : {SIGSEGV, SIGILL, SIGFPE, SIGABRT}) std::signal(signal, on_signal);
#if defined(SIGBUS)
  std::signal(SIGBUS, on_signal);
#endif
}

void Report::check(bool ok, const char* what) {
  Counts& counts = counts_[now.set];
  if (ok) {
    ++counts.passed;
    return;
  }
  ++counts.failed;
  const std::size_t failures = all_failed();
  if (failures > kPrinted) return;
  std::printf("FAILED: %s: ", what);
  print_case(stdout);
  if (failures == kPrinted) std::printf("further failures are only counted\n");
  std::fflush(stdout);
}

void Report::check_bytes(const void* got, const void* expected, std::size_t size, const char* what) {
  check(size == 0 || std::memcmp(got, expected, size) == 0, what);
}

void Report::print_case(std::FILE* to) const {
  std::fprintf(to, "%s, %s %s, %zu dimensions, %zu rows, %zu queries", now.set, now.operation, now.width, now.dim,
               now.rows, now.queries);
  std::fprintf(to, ", gap %zu%s, %s a forbidden page, skew %zu", now.layout.gap, now.layout.reversed ? " reversed" : "",
               now.layout.side == Side::kEnd ? "ending at" : "beginning after", now.layout.skew);
  if (now.iteration != 0) std::fprintf(to, ", iteration %" PRIu64, now.iteration);
  std::fprintf(to, "\n");
}

std::size_t Report::passed(const std::string& set) const { return counts_.contains(set) ? counts_.at(set).passed : 0; }
std::size_t Report::failed(const std::string& set) const { return counts_.contains(set) ? counts_.at(set).failed : 0; }
std::size_t Report::all_passed() const {
  std::size_t sum = 0;
  for (const auto& [set, counts] : counts_) sum += counts.passed;
  return sum;
}
std::size_t Report::all_failed() const {
  std::size_t sum = 0;
  for (const auto& [set, counts] : counts_) sum += counts.failed;
  return sum;
}

Golden::Golden(std::string path, bool writing) : path_(std::move(path)), writing_(writing) {
  if (writing_) return;
  std::ifstream file(path_);
  if (!file) {
    std::fprintf(stderr, "cannot read the golden digests: %s\n", path_.c_str());
    std::exit(2);
  }
  for (std::string line; std::getline(file, line);) {
    const auto space = line.rfind(' ');
    if (line.empty() || line[0] == '#' || space == std::string::npos) continue;
    digests_[line.substr(0, space)] = std::strtoull(line.c_str() + space + 1, nullptr, 16);
  }
}

void Golden::check(Report& report, const std::string& name, std::uint64_t digest) {
  const auto found = digests_.find(name);
  if (writing_ && found == digests_.end()) {
    digests_[name] = digest;
    order_.push_back(name);
    return;
  }
  const bool ok = found != digests_.end() && found->second == digest;
  report.check(ok, ("the golden digest of '" + name + "'").c_str());
}

void Golden::finish() const {
  if (!writing_) return;
  std::ofstream file(path_);
  file << "# 64-bit FNV-1a of all output bytes, by test case. Written by `frazil_native --write-golden`, on x86.\n";
  for (const std::string& name : order_) {
    char digest[17];
    std::snprintf(digest, sizeof digest, "%016" PRIx64, digests_.at(name));
    file << name << ' ' << digest << '\n';
  }
  if (!file.flush()) {
    std::fprintf(stderr, "cannot write the golden digests: %s\n", path_.c_str());
    std::exit(2);
  }
}

}  // namespace frazil::native
