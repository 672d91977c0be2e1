// One struct of function pointers, one for each operation and width. Each instruction set fills in what it has; an
// empty slot inherits from the next slower set. Kernels trust their arguments: operations validate.
//
// Rows of codes are given by a pointer and a distance in bytes from row to row (`stride`). No kernel reads past the
// last byte of a row or writes past the last byte of its output. No pointer needs to be aligned. The integers of
// queries are -127 … 127 (docs/format.md §4).
#pragma once

#include <cstddef>
#include <cstdint>

#include "format.h"
#include "prefetch.h"
#include "sketch.h"

namespace frazil {

// Sums of squares in this range are packed by the kernels; other rows are scaled by a power of two first
// (docs/format.md §3).
inline constexpr double kMinSquares = 0x1p-120;
inline constexpr double kMaxSquares = 0x1p120;

// How many queries are scored at a time: their results stay in the first-level cache until they are used.
static constexpr std::size_t kUsualQueries = 12;

// What a sum of 16 bits that takes two of every four entries of a query, times codes of 4 bits, can do with: so many
// neighbouring entries, whatever these are. Of most queries more: their span.
static constexpr std::size_t kLeastSpan = 32;

struct TileKernels {
  // Documents are scored against many queries from a tile: `group` rows at a time, widened to bytes and transposed so
  // that neighbouring lanes hold neighbouring rows. The layout inside is the instruction set's own.
  std::size_t group;
  // From so many queries on that is faster than scoring the rows where they lie for each query: measured.
  std::size_t queries;
  std::size_t at_once;  // as many are given to `dot` at most
  bool by_span;         // whether `dot` goes by the queries' span
  // Bytes of a tile of `rows` rows (a multiple of `group`).
  std::size_t (*bytes)(Width width, std::size_t rows, std::size_t row_bytes);
  // Fills the tile with n rows; the tile's remaining rows, up to a multiple of `group`, give meaningless dots.
  void (*load[kDotWidths])(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
                           std::uint8_t* tile);
  // dots[q * dots_stride + r] = <queries[q], tile row r>, r < n rounded up to `group`. Queries are stored by planes;
  // span is a multiple of kLeastSpan that suits each of them. reached[q] is false only if none of them is at least
  // least[q]: seen while they are in registers, that spares looking at them again. Meanwhile the n * row_bytes bytes at
  // `ahead` are asked for, unless that is null.
  void (*dot[kDotWidths])(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
                          std::size_t n_queries, std::size_t span, std::int32_t* dots, std::size_t dots_stride,
                          const std::int32_t* least, bool* reached, const std::uint8_t* ahead);
};

// A query against sketches (docs/format.md §7). For each four bits a table of 16 bytes; a row's bound is
//   max(line, line * below) * factor + (error * width + base),  line = sum of its entries * slope + offset,
// each step rounded to float.
struct SketchQuery {
  const std::uint8_t* tables;
  float slope, offset, below, width, base;
};

struct SketchPicks {
  float least;
  std::size_t count;
  std::uint32_t* rows;
  float* bounds;
};

// Refining a row of codes (docs/format.md §3). Its arrays are `stride` numbers long: dim and zeros up to a multiple of
// kRefineAlign.
static constexpr std::size_t kRefineAlign = 64;
// A gain is compared without its lowest bits, in which the dimension stands instead, counted down.
static constexpr std::int32_t kRefineIndices = 4096;
static_assert(kMaxDim <= kRefineIndices);

struct Refinement {
  std::size_t stride;
  std::size_t most;     // moves
  const float* metric;  // dim rows of `stride` numbers, symmetric; null is the identity
  const float* levels;  // what a code stands for
  int last;             // the largest code
  const float* values;  // of the vector
  const float* bend;    // half of the second derivative of the loss
  float weight, along;  // of the product of the vector and the error; that product
  float* gradient;      // the metric times the error
  float *up, *down;     // from a code to its neighbours, 0 where there is none
  std::uint8_t* codes;  // one each
};

// Moves a code against the slope of the loss. Returns by how much that changes its value.
[[maybe_unused]] static float move_code(const Refinement& row, std::size_t i, float slope) {
  const bool rises = slope < 0;
  const float change = rises ? row.up[i] : -row.down[i];
  const int code = row.codes[i] + (rises ? 1 : -1);
  row.codes[i] = static_cast<std::uint8_t>(code);
  row.up[i] = code < row.last ? row.levels[code + 1] - row.levels[code] : 0.0f;
  row.down[i] = code > 0 ? row.levels[code] - row.levels[code - 1] : 0.0f;
  return change;
}

// What Kernels::dot_peak is given.
static constexpr std::size_t kPeakBytes = 512, kPeakSums = 1024;

struct Kernels {
  const char* name = {};

  // Packs rows of floats until a row whose sum of squares is out of range (or NaN); returns how many rows were packed.
  // `stride` is the distance in bytes between rows; the values of a row are adjacent. Later rows are asked for as
  // `ahead` says.
  using Pack = std::size_t(const std::byte* x, std::ptrdiff_t stride, std::size_t n, std::size_t dim,
                           double steps_per_unit, std::uint8_t* out, const RowsAhead& ahead);
  Pack* pack_half[kWidths] = {};
  Pack* pack_bfloat16[kWidths] = {};
  Pack* pack_single[kWidths] = {};
  Pack* pack_double[kWidths] = {};

  // out[r * dim + i] = (2 * code - levels) * half_step
  using Unpack = void(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t dim, float half_step,
                      float* out);
  Unpack* unpack[kWidths] = {};

  // products[r * stride + i] = the sum of metric[j * stride + i] * rows[r * stride + j], j ascending. `stride` is a
  // multiple of kRefineAlign, the metric has dim rows.
  using MetricRows = void(const float* metric, std::size_t stride, std::size_t dim, const float* rows, std::size_t n,
                          float* products);
  MetricRows* metric_rows = {};

  // Moves codes while that lowers the loss, one after the other; returns how many moves there were.
  using RefineRow = std::size_t(const Refinement& row);
  RefineRow* refine_row = {};

  // Writes levels[code] for each code of 4 bits: 2 * row_bytes bytes a row, side by side.
  using Expand = void(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
                      const std::uint8_t* levels, std::uint8_t* out);
  Expand* expand = {};

  // dots[q * dots_stride + r] = <query q, row r>: some queries (by planes, one after the other) against rows where they
  // lie. What a row holds are its codes or, of kNormal4, their kNormalLevels. What lies `ahead` is asked for.
  using DotRows = void(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
                       const std::int8_t* queries, std::size_t n_queries, std::int32_t* dots, std::size_t dots_stride,
                       const Ahead& ahead);
  DotRows* dot_rows[kDotWidths] = {};

  // dots[i] = <query, row picked[i]>, one query.
  using DotPicked = void(const std::uint8_t* rows, std::ptrdiff_t stride, const std::uint32_t* picked, std::size_t n,
                         std::size_t row_bytes, const std::int8_t* query, std::int32_t* dots);
  DotPicked* dot_picked[kDotWidths] = {};

  // scores[r] = <query, 2 * code - levels> * half_step, in the order of docs/format.md §5.
  using FloatRows = void(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
                         const float* query, float half_step, float* scores);
  FloatRows* float_rows[kWidths] = {};

  // Writes the indices of the dots that reach the threshold, ascending; returns how many. `picked` has room for n.
  using Select = std::size_t(const std::int32_t* dots, std::size_t n, std::int32_t threshold, std::uint32_t* picked);
  Select* select = {};

  // Turns n <= 64 rows, less the centre, and writes their bits (transposed, sketch.h), 64 squared norms and 64 sums of
  // absolute values. scratch: 32 * shape.bits numbers.
  using SketchRows = void(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, const SketchShape& shape,
                          const float* centre, float* scratch, std::uint8_t* bits, float* squares, float* sums);
  SketchRows* sketch_rows[kWidths] = {};

  // For each of the queries, writes the numbers, ascending, and the bounds of the rows of n blocks whose bound is
  // greater than the query's `least`, and how many; asks for what lies `ahead`. Each query's picks have room for all
  // rows of the blocks.
  using SketchSelect = void(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape,
                            const SketchQuery* queries, std::size_t n_queries, const Ahead& ahead, SketchPicks* picks);
  SketchSelect* sketch_select = {};

  const TileKernels* tiles = {};

  // Multiplies codes with a query and sums the products up, at the rate that the unit has at most, reading no memory to
  // speak of: what tiles are measured against. codes, query: kPeakBytes, sums: kPeakSums numbers, to be
  // carried on from and left. Returns how many products; 0 if the process may not.
  using DotPeak = std::uint64_t(std::uint64_t rounds, const std::uint8_t* codes, const std::int8_t* query,
                                std::int32_t* sums);
  DotPeak* dot_peak = {};
};

// Calls fn(name, slot of a, slot of b) for each slot.
template <class Fn>
void for_each_slot(Kernels& a, const Kernels& b, Fn&& fn) {
  fn("pack_half_int4", a.pack_half[kInt4], b.pack_half[kInt4]);
  fn("pack_half_int8", a.pack_half[kInt8], b.pack_half[kInt8]);
  fn("pack_bfloat16_int4", a.pack_bfloat16[kInt4], b.pack_bfloat16[kInt4]);
  fn("pack_bfloat16_int8", a.pack_bfloat16[kInt8], b.pack_bfloat16[kInt8]);
  fn("pack_single_int4", a.pack_single[kInt4], b.pack_single[kInt4]);
  fn("pack_single_int8", a.pack_single[kInt8], b.pack_single[kInt8]);
  fn("pack_double_int4", a.pack_double[kInt4], b.pack_double[kInt4]);
  fn("pack_double_int8", a.pack_double[kInt8], b.pack_double[kInt8]);
  fn("unpack_int4", a.unpack[kInt4], b.unpack[kInt4]);
  fn("unpack_int8", a.unpack[kInt8], b.unpack[kInt8]);
  fn("metric_rows", a.metric_rows, b.metric_rows);
  fn("refine_row", a.refine_row, b.refine_row);
  fn("expand", a.expand, b.expand);
  fn("dot_rows_int4", a.dot_rows[kInt4], b.dot_rows[kInt4]);
  fn("dot_rows_int8", a.dot_rows[kInt8], b.dot_rows[kInt8]);
  fn("dot_rows_normal", a.dot_rows[kNormal4], b.dot_rows[kNormal4]);
  fn("dot_picked_int4", a.dot_picked[kInt4], b.dot_picked[kInt4]);
  fn("dot_picked_int8", a.dot_picked[kInt8], b.dot_picked[kInt8]);
  fn("dot_picked_normal", a.dot_picked[kNormal4], b.dot_picked[kNormal4]);
  fn("float_rows_int4", a.float_rows[kInt4], b.float_rows[kInt4]);
  fn("float_rows_int8", a.float_rows[kInt8], b.float_rows[kInt8]);
  fn("select", a.select, b.select);
  fn("sketch_rows_int4", a.sketch_rows[kInt4], b.sketch_rows[kInt4]);
  fn("sketch_rows_int8", a.sketch_rows[kInt8], b.sketch_rows[kInt8]);
  fn("sketch_select", a.sketch_select, b.sketch_select);
  fn("tiles", a.tiles, b.tiles);
  fn("dot_peak", a.dot_peak, b.dot_peak);
}

}  // namespace frazil
