// Sketches of codes (docs/format.md §7): building them, reading their bytes, and queries made ready to meet them.
#pragma once

#include <vector>

#include "../kernel_table.h"
#include "arrays.h"
#include "queries.h"

namespace frazil {

// A sketch's bytes, taken apart. Borrows them.
struct Sketch {
  SketchShape shape;
  int code_bits;
  std::size_t rows;
  float longest;              // the norm of the longest row, less the centre
  float least, most;          // of the squares of rows' errors over their norms
  std::vector<float> centre;  // shape.dim
  const std::uint8_t* blocks;

  std::size_t block_count() const { return (rows + kSketchRows - 1) / kSketchRows; }
  const std::uint8_t* block(std::size_t i) const { return blocks + i * shape.block_bytes(); }
  // The mean error of some rows.
  float typical_error() const;
};

// How many bytes the sketch of so many rows has. Throws std::bad_alloc if that is more than memory can hold.
std::size_t sketch_bytes(const Format& format, std::size_t rows);

// Throws std::invalid_argument unless the bytes are those of a sketch, as many as it says.
Sketch read_sketch(const std::uint8_t* data, std::size_t n);

// Throws unless the sketch is one of as many codes of the format.
void check_sketch(const Sketch& sketch, const Format& format, const CodeMatrix& codes);

// Writes the sketch of all codes: sketch_bytes(format, codes.rows) bytes.
void build_sketch(const Format& format, const CodeMatrix& codes, unsigned threads, std::uint8_t* out);

// Queries first … last - 1, made ready for Kernels::sketch_select.
class SketchQueries {
 public:
  // width: how many standard deviations of a row's error are added to its estimate.
  SketchQueries(const Format& format, const Queries& queries, std::size_t first, std::size_t last, const Sketch& sketch,
                double width);

  // The query q and those after it.
  const SketchQuery* queries(std::size_t q) const { return queries_.data() + (q - first_); }

 private:
  void prepare(std::size_t q, std::uint8_t* tables);

  const Format& format_;
  const Queries& source_;
  const Sketch& sketch_;
  const double width_;
  const std::size_t first_;
  std::vector<SketchQuery> queries_;
  std::vector<std::uint8_t> tables_;
  std::vector<double> values_;
};

}  // namespace frazil
