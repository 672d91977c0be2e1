// Codes chosen so that scores, rather than values, come out right (docs/format.md §3). The format is that of any codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../kernel_table.h"
#include "arrays.h"

namespace frazil {

// Which errors count how much: a symmetric, positive definite matrix (dim, dim), its rows one after the other.
struct Metric {
  const float* data;
  std::size_t dim;
};

// A metric laid out for the kernels, or none, which is the identity.
class Loss {
 public:
  Loss(const Format& format, const Metric* metric);

  // Refines the codes of rows [begin, end), as pack_rows has written them; those of zero rows stay.
  void refine_rows(const Kernels& kernels, const FloatMatrix& x, std::size_t begin, std::size_t end,
                   std::uint8_t* codes) const;

 private:
  class Block;

  const Format& format_;
  const std::size_t stride_;
  std::vector<float> levels_;  // what each code stands for, in half steps
  std::vector<float> metric_, diagonal_;
};

// Packs as `pack` does, then refines. Throws std::invalid_argument naming the first row with NaN or infinity, or if the
// metric is one of other dimensions.
void pack_refined(const Format& format, const FloatMatrix& x, const char* name, const Metric* metric, unsigned threads,
                  std::uint8_t* out);

}  // namespace frazil
