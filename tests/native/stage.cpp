#include "stage.h"

#include <algorithm>
#include <cstring>

#include "../../csrc/ops/queries.h"

namespace frazil::native {

const std::uint8_t* Stage::place_rows(const std::uint8_t* rows, std::size_t n, std::size_t row_bytes,
                                      const Layout& layout, std::ptrdiff_t& stride) {
  used_ = 0;
  const std::size_t distance = row_bytes + layout.gap, skew = layout.side == Side::kStart ? layout.skew : 0;
  const std::size_t extent = n == 0 ? 0 : (n - 1) * distance + row_bytes;
  std::uint8_t* const low = rows_.place(skew + extent, layout.side) + skew;
  const auto at = [&](std::size_t r) { return low + (layout.reversed ? n - 1 - r : r) * distance; };
  for (std::size_t r = 0; r < n; ++r) std::memcpy(at(r), rows + r * row_bytes, row_bytes);
  stride = static_cast<std::ptrdiff_t>(distance) * (layout.reversed ? -1 : 1);
  return n == 0 ? low : at(0);
}

namespace {

// A copy of an input.
template <class T>
const T* placed(Guarded& where, const T* data, std::size_t count, Side side) {
  T* const at = where.place_of<T>(count, side);
  if (count > 0) std::memcpy(at, data, count * sizeof(T));
  return at;
}

std::size_t query_entries(const Format& format) { return planes(format.width) * plane_stride(format.row_bytes()); }

}  // namespace

std::size_t Stage::pack(Kernels::Pack* kernel, const std::uint8_t* rows, std::size_t n, std::size_t row_bytes,
                        const Format& format, Ahead::Way ask, const Layout& layout) {
  std::ptrdiff_t stride = 0;
  const auto* const x = reinterpret_cast<const std::byte*>(place_rows(rows, n, row_bytes, layout, stride));
  return kernel(x, stride, n, format.dim, format.steps_per_unit(),
                out<std::uint8_t>(0, n * format.row_bytes(), layout.side), {ask, n});
}

void Stage::unpack(Kernels::Unpack* kernel, const std::uint8_t* rows, std::size_t n, const Format& format,
                   const Layout& layout) {
  std::ptrdiff_t stride = 0;
  const std::uint8_t* const at = place_rows(rows, n, format.row_bytes(), layout, stride);
  kernel(at, stride, n, format.dim, static_cast<float>(format.half_step()), out<float>(0, n * format.dim, layout.side));
}

void Stage::expand(Kernels::Expand* kernel, const std::uint8_t* rows, std::size_t n, std::size_t row_bytes,
                   const std::uint8_t* levels, const Layout& layout) {
  std::ptrdiff_t stride = 0;
  const std::uint8_t* const at = place_rows(rows, n, row_bytes, layout, stride);
  kernel(at, stride, n, row_bytes, placed(numbers_, levels, 16, layout.side),
         out<std::uint8_t>(0, 2 * n * row_bytes, layout.side));
}

namespace {

// Whether nothing was written between the queries' `n` dots each.
bool untouched(const std::int32_t* dots, std::size_t n, std::size_t n_queries, std::size_t beside) {
  for (std::size_t q = 0; q + 1 < n_queries; ++q) {
    const auto* const between = reinterpret_cast<const std::uint8_t*>(dots + q * (n + beside) + n);
    if (std::any_of(between, between + beside * sizeof *dots, [](std::uint8_t b) { return b != kCanary; })) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool Stage::dot_rows(Kernels::DotRows* kernel, const std::uint8_t* rows, std::size_t n, const Format& format,
                     const std::int8_t* queries, std::size_t n_queries, std::size_t beside, Ahead::Way ask,
                     std::size_t& dots_stride, const Layout& layout) {
  std::ptrdiff_t stride = 0;
  const std::uint8_t* const at = place_rows(rows, n, format.row_bytes(), layout, stride);
  dots_stride = n + beside;
  const std::size_t n_dots = (n_queries - 1) * dots_stride + n;
  std::int32_t* const dots = out<std::int32_t>(0, n_dots, layout.side);
  kernel(at, stride, n, format.row_bytes(), placed(query_, queries, n_queries * query_entries(format), layout.side),
         n_queries, dots, dots_stride, {ask, 3 * stride});
  return untouched(dots, n, n_queries, beside);
}

void Stage::dot_picked(Kernels::DotPicked* kernel, const std::uint8_t* rows, std::size_t n, const Format& format,
                       const std::int8_t* query, const std::uint32_t* picked, std::size_t n_picked,
                       const Layout& layout) {
  std::ptrdiff_t stride = 0;
  const std::uint8_t* const at = place_rows(rows, n, format.row_bytes(), layout, stride);
  kernel(at, stride, placed(numbers_, picked, n_picked, layout.side), n_picked, format.row_bytes(),
         placed(query_, query, query_entries(format), layout.side), out<std::int32_t>(0, n_picked, layout.side));
}

void Stage::float_rows(Kernels::FloatRows* kernel, const std::uint8_t* rows, std::size_t n, const Format& format,
                       const float* query, const Layout& layout) {
  std::ptrdiff_t stride = 0;
  const std::uint8_t* const at = place_rows(rows, n, format.row_bytes(), layout, stride);
  kernel(at, stride, n, format.row_bytes(), placed(query_, query, query_entries(format), layout.side),
         static_cast<float>(format.half_step()), out<float>(0, n, layout.side));
}

std::size_t Stage::select(Kernels::Select* kernel, const std::int32_t* dots, std::size_t n, std::int32_t threshold,
                          Side side) {
  used_ = 0;
  return kernel(placed(rows_, dots, n, side), n, threshold, out<std::uint32_t>(0, n, side));
}

void Stage::sketch_rows(Kernels::SketchRows* kernel, const std::uint8_t* rows, std::size_t n, const Format& format,
                        const float* centre, const Layout& layout) {
  const SketchShape shape(format.dim);
  std::ptrdiff_t stride = 0;
  const std::uint8_t* const at = place_rows(rows, n, format.row_bytes(), layout, stride);
  kernel(at, stride, n, shape, placed(query_, centre, shape.dim, layout.side),
         scratch_.place_of<float>(32 * shape.bits, layout.side),
         out<std::uint8_t>(0, shape.bytes() * kSketchRows, layout.side), out<float>(1, kSketchRows, layout.side),
         out<float>(2, kSketchRows, layout.side));
}

void Stage::sketch_select(Kernels::SketchSelect* kernel, const std::uint8_t* blocks, std::size_t n,
                          const SketchShape& shape, const SketchQuery* queries, std::size_t n_queries,
                          const float* least, std::size_t* counts, Side side) {
  used_ = 0;
  const std::uint8_t* const at = placed(rows_, blocks, n * shape.block_bytes(), side);
  std::uint8_t* const tables = query_.place(n_queries * shape.tables_bytes(), side);
  SketchQuery* const copies = numbers_.place_of<SketchQuery>(n_queries, side);
  SketchPicks* const picks = scratch_.place_of<SketchPicks>(n_queries, side);
  for (std::size_t q = 0; q < n_queries; ++q) {
    std::uint8_t* const table = tables + q * shape.tables_bytes();
    std::memcpy(table, queries[q].tables, shape.tables_bytes());
    copies[q] = queries[q];
    copies[q].tables = table;
    picks[q] = {least[q], n * kSketchRows + 1, out<std::uint32_t>(2 * q, n * kSketchRows, side),
                out<float>(2 * q + 1, n * kSketchRows, side)};
  }
  kernel(at, n, shape, copies, n_queries, {kWays[n_queries % std::size(kWays)], 4096}, picks);
  for (std::size_t q = 0; q < n_queries; ++q) counts[q] = picks[q].count;
}

void Stage::metric_rows(Kernels::MetricRows* kernel, const float* metric, std::size_t stride, std::size_t dim,
                        const float* rows, std::size_t n, Side side) {
  used_ = 0;
  kernel(placed(query_, metric, dim * stride, side), stride, dim, placed(rows_, rows, n * stride, side), n,
         out<float>(0, n * stride, side));
}

std::size_t Stage::refine_row(Kernels::RefineRow* kernel, Refinement row, std::size_t dim, Side side) {
  used_ = 0;
  const auto changed = [&]<class T>(std::size_t i, T* from, std::size_t count) {
    T* const at = out<T>(i, count, side);
    std::memcpy(at, from, count * sizeof(T));
    return at;
  };
  if (row.metric != nullptr) row.metric = placed(query_, row.metric, dim * row.stride, side);
  row.levels = placed(numbers_, row.levels, static_cast<std::size_t>(row.last) + 1, side);
  row.values = placed(rows_, row.values, row.stride, side);
  row.bend = placed(more_, row.bend, row.stride, side);
  row.codes = changed(0, row.codes, dim);
  row.gradient = changed(1, row.gradient, row.stride);
  row.up = changed(2, row.up, row.stride);
  row.down = changed(3, row.down, row.stride);
  return kernel(row);
}

bool Stage::tile(const TileKernels& tiles, Width width, const std::uint8_t* rows, std::size_t n, std::size_t row_bytes,
                 const std::int8_t* queries, std::size_t n_queries, const std::int32_t* least, std::size_t beside,
                 std::size_t& dots_stride, const Layout& layout) {
  const std::size_t padded = (n + tiles.group - 1) / tiles.group * tiles.group;
  std::ptrdiff_t stride = 0;
  const std::uint8_t* const at = place_rows(rows, n, row_bytes, layout, stride);
  std::uint8_t* const tile = scratch_.place(tiles.bytes(width, padded, row_bytes), layout.side);
  tiles.load[width](at, stride, n, row_bytes, tile);
  dots_stride = padded + beside;
  std::int32_t* const dots = out<std::int32_t>(0, (n_queries - 1) * dots_stride + padded, layout.side);
  bool* const reached = out<bool>(1, n_queries, layout.side);
  const std::size_t of_query = planes(width) * plane_stride(row_bytes);
  std::size_t span = of_query;
  for (std::size_t q = 0; q < n_queries; ++q) span = std::min(span, span_of(queries + q * of_query, of_query));
  tiles.dot[width](tile, n, row_bytes, placed(query_, queries, n_queries * of_query, layout.side), n_queries, span,
                   dots, dots_stride, placed(numbers_, least, n_queries, layout.side), reached, at);
  return untouched(dots, padded, n_queries, beside);
}

std::uint64_t Stage::dot_peak(Kernels::DotPeak* kernel, std::uint64_t rounds, const std::uint8_t* codes,
                              const std::int8_t* query, Side side) {
  used_ = 0;
  std::int32_t* const sums = out<std::int32_t>(0, kPeakSums, side);
  std::fill(sums, sums + kPeakSums, 0);
  return kernel(rounds, placed(rows_, codes, kPeakBytes, side), placed(query_, query, kPeakBytes, side), sums);
}

bool Stage::intact() const {
  return std::all_of(outputs_, outputs_ + used_, [](const Guarded& output) { return output.intact(); }) &&
         (scratch_.data() == nullptr || scratch_.intact());
}

}  // namespace frazil::native
