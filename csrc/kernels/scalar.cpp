// Portable kernels: what every CPU runs, the plainest reading of docs/format.md, and what the other sets are compared
// with.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "../kernel_table.h"
#include "../prefetch.h"
#include "../squares.h"
#include "sketch_rows.h"

namespace frazil {
namespace {

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <Width W>
constexpr int kHalf = W == kInt4 ? 8 : 128;
template <Width W>
constexpr int kLevels = W == kInt4 ? 15 : 255;

// How many whole steps a value lies from the middle of the range (docs/format.md §3).
template <Width W, class Value>
struct Steps {
  float high, low;
  explicit Steps(double scale)
      : high(static_cast<float>(scale)), low(static_cast<float>(scale - static_cast<double>(high))) {}
  long operator()(float x) const {
    const float steps = x * high;
    if constexpr (W == kInt4) return std::lrintf(steps - 0.5f);
    const float low_part = x * low - 0.5f;
    return std::lrintf(steps + low_part);
  }
};
template <Width W>
struct Steps<W, double> {
  double scale;
  long operator()(double x) const { return std::lrint(x * scale - 0.5); }
};

template <Width W, class T>
std::size_t pack(const std::byte* x, std::ptrdiff_t stride, std::size_t n, std::size_t dim, double steps_per_unit,
                 std::uint8_t* out, const RowsAhead&) {
  for (std::size_t row = 0; row < n; ++row, x += stride) {
    const double squares = sum_of_squares<T>(x, dim);
    if (!(squares >= kMinSquares && squares <= kMaxSquares)) return row;
    const Steps<W, decltype(widen(T{}))> steps{steps_per_unit / std::sqrt(squares)};
    const auto code = [&](std::size_t i) {
      return static_cast<std::uint8_t>(
          std::clamp<long>(steps(widen(load<T>(x + i * sizeof(T)))) + kHalf<W>, 0, kLevels<W>));
    };
    if constexpr (W == kInt4) {
      for (std::size_t i = 0; i < dim; i += 2) *out++ = static_cast<std::uint8_t>(code(i) << 4 | code(i + 1));
    } else {
      for (std::size_t i = 0; i < dim; ++i) *out++ = code(i);
    }
  }
  return n;
}

template <Width W>
void unpack(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t dim, float half_step,
            float* out) {
  for (std::size_t r = 0; r < n; ++r, rows += stride) {
    for (std::size_t i = 0; i < dim; ++i) *out++ = static_cast<float>(2 * code_at<W>(rows, i) - kLevels<W>) * half_step;
  }
}

void expand(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
            const std::uint8_t* levels, std::uint8_t* out) {
  for (std::size_t r = 0; r < n; ++r, rows += stride) {
    for (std::size_t j = 0; j < row_bytes; ++j, out += 2) {
      out[0] = levels[rows[j] >> 4];
      out[1] = levels[rows[j] & 15];
    }
  }
}

template <Width W>
std::int32_t dot_row(const std::uint8_t* row, std::size_t row_bytes, const std::int8_t* query) {
  const auto level = [](int code) { return W == kNormal4 ? kNormalLevels[code] : code; };
  std::int32_t sum = 0;
  if constexpr (W == kInt8) {
    for (std::size_t j = 0; j < row_bytes; ++j) sum += row[j] * query[j];
  } else {
    const std::int8_t* const odd = query + plane_stride(row_bytes);
    for (std::size_t j = 0; j < row_bytes; ++j) sum += level(row[j] >> 4) * query[j] + level(row[j] & 15) * odd[j];
  }
  return sum;
}

template <Width W>
void dot_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
              const std::int8_t* queries, std::size_t n_queries, std::int32_t* dots, std::size_t dots_stride,
              const Ahead&) {
  for (std::size_t r = 0; r < n; ++r, rows += stride) {
    for (std::size_t q = 0; q < n_queries; ++q) {
      dots[q * dots_stride + r] = dot_row<W>(rows, row_bytes, queries + q * planes(W) * plane_stride(row_bytes));
    }
  }
}

template <Width W>
void dot_picked(const std::uint8_t* rows, std::ptrdiff_t stride, const std::uint32_t* picked, std::size_t n,
                std::size_t row_bytes, const std::int8_t* query, std::int32_t* dots) {
  for (std::size_t i = 0; i < n; ++i) {
    dots[i] = dot_row<W>(rows + static_cast<std::ptrdiff_t>(picked[i]) * stride, row_bytes, query);
  }
}

template <Width W>
void float_rows(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
                const float* query, float half_step, float* scores) {
  for (std::size_t r = 0; r < n; ++r, rows += stride) {
    std::array<float, 32> p{};
    for (std::size_t j = 0; j < row_bytes; ++j) {
      if constexpr (W == kInt4) {
        p[j % 16] += query[j] * static_cast<float>(2 * (rows[j] >> 4) - 15);
        p[16 + j % 16] += query[plane_stride(row_bytes) + j] * static_cast<float>(2 * (rows[j] & 15) - 15);
      } else {
        p[j % 32] += query[j] * static_cast<float>(2 * rows[j] - 255);
      }
    }
    for (std::size_t h = 16; h > 0; h /= 2) {
      for (std::size_t j = 0; j < h; ++j) p[j] += p[j + h];
    }
    scores[r] = p[0] * half_step + 0.0f;  // a zero is +0
  }
}

std::size_t select(const std::int32_t* dots, std::size_t n, std::int32_t threshold, std::uint32_t* picked) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < n; ++i) {
    picked[count] = static_cast<std::uint32_t>(i);
    count += dots[i] >= threshold;
  }
  return count;
}

void sketch_select_one(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery& query,
                       SketchPicks& picks) {
  std::size_t count = 0;
  for (std::size_t b = 0; b < n; ++b, blocks += shape.block_bytes()) {
    std::array<std::uint32_t, kSketchRows> sums{};
    for (std::size_t j = 0; j < shape.bytes(); ++j) {
      const std::uint8_t* const low = query.tables + 2 * j * kTableEntries;
      const std::uint8_t* const high = low + kTableEntries;
      for (std::size_t r = 0; r < kSketchRows; ++r) {
        const std::uint8_t byte = blocks[j * kSketchRows + r];
        sums[r] += static_cast<std::uint32_t>(low[byte & 15] + high[byte >> 4]);
      }
    }
    const auto* const factors = reinterpret_cast<const std::byte*>(blocks + shape.factors_at());
    for (std::size_t r = 0; r < kSketchRows; ++r) {
      const float factor = widen(load<Half>(factors + 2 * r));
      const float error = widen(load<Half>(factors + 2 * (kSketchRows + r)));
      const float line = static_cast<float>(sums[r]) * query.slope + query.offset;
      const float upper = std::max(line, line * query.below) * factor + (error * query.width + query.base);
      if (upper > picks.least) {
        picks.rows[count] = static_cast<std::uint32_t>(b * kSketchRows + r);
        picks.bounds[count++] = upper;
      }
    }
  }
  picks.count = count;
}

void sketch_select(const std::uint8_t* blocks, std::size_t n, const SketchShape& shape, const SketchQuery* queries,
                   std::size_t n_queries, const Ahead&, SketchPicks* picks) {
  for (std::size_t q = 0; q < n_queries; ++q) sketch_select_one(blocks, n, shape, queries[q], picks[q]);
}

// A scalar tile is a copy of the rows: there are no lanes to fill.
std::size_t tile_bytes(Width, std::size_t rows, std::size_t row_bytes) { return rows * row_bytes; }

void load_tile(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
               std::uint8_t* tile) {
  for (std::size_t r = 0; r < n; ++r)
    std::memcpy(tile + r * row_bytes, rows + static_cast<std::ptrdiff_t>(r) * stride, row_bytes);
}

template <Width W>
void dot_tile(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
              std::size_t n_queries, std::size_t, std::int32_t* dots, std::size_t dots_stride, const std::int32_t*,
              bool* reached, const std::uint8_t*) {
  dot_rows<W>(tile, static_cast<std::ptrdiff_t>(row_bytes), n, row_bytes, queries, n_queries, dots, dots_stride, {});
  std::fill(reached, reached + n_queries, true);
}

// There is no instruction to name: what the compiler makes of the plain loop, in the nearest cache.
std::uint64_t dot_peak(std::uint64_t rounds, const std::uint8_t* codes, const std::int8_t* query, std::int32_t* sums) {
  for (std::uint64_t round = 0; round < rounds; ++round) sums[round % 512] += dot_row<kInt4>(codes, 256, query);
  return rounds * 512;
}

constexpr TileKernels kTiles{1,
                             8,
                             kUsualQueries,
                             false,
                             tile_bytes,
                             {load_tile, load_tile, load_tile},
                             {dot_tile<kInt4>, dot_tile<kInt8>, dot_tile<kNormal4>}};

void metric_rows(const float* metric, std::size_t stride, std::size_t dim, const float* rows, std::size_t n,
                 float* products) {
  for (std::size_t r = 0; r < n; ++r, rows += stride, products += stride) {
    std::fill_n(products, stride, 0.0f);
    for (std::size_t j = 0; j < dim; ++j) {
      for (std::size_t i = 0; i < stride; ++i) products[i] += rows[j] * metric[j * stride + i];
    }
  }
}

std::size_t refine_row(const Refinement& row) {
  float along = row.along;
  for (std::size_t moves = 0;; ++moves) {
    if (moves == row.most) return moves;
    const float weight = row.weight * along;
    std::int32_t best = 0;
    for (std::size_t i = 0; i < row.stride; ++i) {
      const float slope = row.gradient[i] + weight * row.values[i];
      const float step = slope < 0 ? row.up[i] : row.down[i];
      const float gain = step * (2 * std::fabs(slope) - step * row.bend[i]);
      const auto order = kRefineIndices - 1 - static_cast<std::int32_t>(i);
      best = std::max(best, (std::bit_cast<std::int32_t>(gain) & -kRefineIndices) | order);
    }
    if (best < kRefineIndices) return moves;
    const auto i = static_cast<std::size_t>(kRefineIndices - 1 - best % kRefineIndices);
    const float change = move_code(row, i, row.gradient[i] + weight * row.values[i]);
    along += change * row.values[i];
    if (row.metric == nullptr) {
      row.gradient[i] += change;
    } else {
      for (std::size_t j = 0; j < row.stride; ++j) row.gradient[j] += change * row.metric[i * row.stride + j];
    }
  }
}

}  // namespace

extern constinit const Kernels kernels_scalar{
    .name = "scalar",
    .pack_half = {pack<kInt4, Half>, pack<kInt8, Half>},
    .pack_bfloat16 = {pack<kInt4, Bfloat16>, pack<kInt8, Bfloat16>},
    .pack_single = {pack<kInt4, float>, pack<kInt8, float>},
    .pack_double = {pack<kInt4, double>, pack<kInt8, double>},
    .unpack = {unpack<kInt4>, unpack<kInt8>},
    .metric_rows = metric_rows,
    .refine_row = refine_row,
    .expand = expand,
    .dot_rows = {dot_rows<kInt4>, dot_rows<kInt8>, dot_rows<kNormal4>},
    .dot_picked = {dot_picked<kInt4>, dot_picked<kInt8>, dot_picked<kNormal4>},
    .float_rows = {float_rows<kInt4>, float_rows<kInt8>},
    .select = select,
    .sketch_rows = {sketch_rows<kInt4>, sketch_rows<kInt8>},
    .sketch_select = sketch_select,
    .tiles = &kTiles,
    .dot_peak = dot_peak,
};

}  // namespace frazil
