// The differential fuzzer: bytes are taken for an operation, a shape and data, and every set must do what `scalar`
// does.
#pragma once

#include "inputs.h"
#include "sets.h"
#include "stage.h"

namespace frazil::native {

// What bytes are taken for, one after the other; once they have run out, numbers that depend on them.
class Decoder {
 public:
  Decoder(const std::uint8_t* data, std::size_t size) : next_(data), left_(size), more_(fnv(data, size)) {}

  std::uint8_t byte();
  std::uint64_t word();
  std::size_t below(std::size_t n) { return n <= 256 ? byte() % n : word() % n; }
  bool coin() { return byte() & 1; }
  void fill(void* to, std::size_t size);

  Format format();
  Layout layout();
  // A finite float, its exponent from `least` on, one of `count`.
  float number(int least, int count);
  // Rows of floats: any bits at all, or usual values with an unusual one at times.
  Bytes floats(FloatType type, std::size_t n, std::size_t columns);
  Bytes bytes(std::size_t size);
  // By planes, -127 … 127, the padding zero.
  std::vector<std::int8_t> integer_queries(std::size_t n, const Format& format);

 private:
  const std::uint8_t* next_;
  std::size_t left_;
  Random more_;
};

class Fuzzer {
 public:
  Fuzzer(const Sets& sets, Report& report) : sets_(sets), report_(report) {}

  // One test.
  void one(const std::uint8_t* data, std::size_t size);

  // Tests for so many seconds, at least one. Test i is what seed + i alone gives, too.
  std::uint64_t loop(double seconds, std::uint64_t seed);

 private:
  void pack(Decoder& decoder, FloatType type);
  void expand(Decoder& decoder);
  void unpack(Decoder& decoder);
  void dot(Decoder& decoder);
  void tile(Decoder& decoder);
  void float_rows(Decoder& decoder);
  void select(Decoder& decoder);
  void sketch_rows(Decoder& decoder);
  void sketch_select(Decoder& decoder);
  // Whole operations (fuzz_operations.cpp).
  void pack_operation(Decoder& decoder);
  void search(Decoder& decoder);
  void damaged_sketch(Decoder& decoder);

  // What is tested now.
  void shape(const char* operation, const Format& format, std::size_t rows, std::size_t queries, const Layout& layout);

  // Calls fn(kernels) for `scalar` first, then for every set, and compares outputs 0 … outputs - 1; fn may return a
  // number that must be the same, too, and `used` tells how many bytes of an output count.
  template <class Fn, class Used>
  void compare(std::size_t outputs, Fn&& fn, Used&& used);
  template <class Fn>
  void compare(std::size_t outputs, Fn&& fn);

  const Sets& sets_;
  Report& report_;
  Stage stage_;
  Guarded input_, sketch_, scores_, rows_, codes_;  // of whole operations
};

}  // namespace frazil::native
