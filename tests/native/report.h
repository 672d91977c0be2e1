// What is being checked, counted, and compared with the golden digests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "guarded.h"

namespace frazil::native {

// How rows are laid out: `gap` bytes between them, the last one first in memory if reversed, the first byte `skew`
// bytes past a page's begin if they do not end at one.
struct Layout {
  std::size_t gap = 0;
  bool reversed = false;
  Side side = Side::kEnd;
  std::size_t skew = 0;
};

// What runs now: named where a check fails, or the process is killed.
struct Case {
  const char* set = "";
  const char* operation = "";
  const char* width = "";
  std::size_t dim = 0, rows = 0, queries = 0;
  Layout layout;
  std::uint64_t iteration = 0;  // of the fuzzer
};

class Report {
 public:
  Case now;

  void begin(const char* set, const char* operation) {
    now = {};
    now.set = set;
    now.operation = operation;
  }

  // Prints the case when the process is killed by a signal, before it dies of it.
  void name_case_on_signals();

  // Counts; prints what failed.
  void check(bool ok, const char* what);
  // The same for `size` bytes that must be the expected ones.
  void check_bytes(const void* got, const void* expected, std::size_t size, const char* what);

  void print_case(std::FILE* to) const;
  std::size_t passed(const std::string& set) const;
  std::size_t failed(const std::string& set) const;
  std::size_t all_passed() const;
  std::size_t all_failed() const;

 private:
  struct Counts {
    std::size_t passed = 0, failed = 0;
  };
  std::map<std::string, Counts> counts_;
};

// Digests by name, one "name digest" a line.
class Golden {
 public:
  // Reads the file, or, for writing, gathers what will be written to it.
  Golden(std::string path, bool writing);

  // Checks the digest against the file's: a name that is not there fails.
  void check(Report& report, const std::string& name, std::uint64_t digest);

  // Writes the file, if that is what it is for.
  void finish() const;

 private:
  const std::string path_;
  const bool writing_;
  std::map<std::string, std::uint64_t> digests_;
  std::vector<std::string> order_;
};

}  // namespace frazil::native
