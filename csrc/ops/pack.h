// Floats to codes and back.
#pragma once

#include <vector>

#include "../kernel_table.h"
#include "ahead.h"
#include "arrays.h"

namespace frazil {

// Packs all rows of x into `out`, (x.rows, row_bytes). Throws std::invalid_argument naming the first row with NaN or
// infinity.
void pack(const Format& format, const FloatMatrix& x, const char* name, unsigned threads, std::uint8_t* out);

// Packs rows [begin, end); returns the first row that holds NaN or infinity, or end. Asks for later rows in order, or
// as a trial finds out: one for all that a thread packs of x.
std::size_t pack_rows(const Kernels& kernels, const Format& format, const FloatMatrix& x, std::size_t begin,
                      std::size_t end, std::uint8_t* out, PackTrial* trial = nullptr);

// Reads rows of any type and strides. Its buffers are on the heap: some systems give threads small stacks.
class RowReader {
 public:
  RowReader(const Format& format, const FloatMatrix& x);

  // The row's kept values side by side, of the matrix's type: where they lie if they do, else a copy.
  const std::byte* values(std::size_t row);

  // The row's kept values as doubles, scaled by a power of two where their squares would leave the range
  // (docs/format.md §3). Sets `squares` to their sum of squares: 0 for a zero row, NaN if a value is NaN or infinite.
  std::vector<double>& doubles(std::size_t row, double& squares);

  bool in_place() const { return in_place_; }

 private:
  const Format& format_;
  const FloatMatrix& x_;
  const bool in_place_;
  std::vector<std::byte> copy_;
  std::vector<double> doubles_;
};

// The largest absolute value; of NaNs it knows nothing.
double largest_of(const std::vector<double>& values);

[[noreturn]] void fail_not_finite(const char* name, std::size_t row);

// Decodes all rows of codes into `out`, (codes.rows, dim).
void unpack(const Format& format, const CodeMatrix& codes, unsigned threads, float* out);

}  // namespace frazil
