#include "sketch.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>

#include "../dispatch.h"
#include "../float_environment.h"
#include "../floats.h"
#include "../parallel.h"
#include "expand.h"

namespace frazil {
namespace {

constexpr std::array<char, 8> kMagic = {'f', 'r', 'z', 's', 'k', 'e', 't', 'c'};
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 64;
constexpr std::size_t kSampleRows = std::size_t{1} << 16;  // at most, about, for the centre
constexpr std::size_t kBlocksAtOnce = 4;
constexpr std::size_t kValuesPerThread = 1 << 16;
constexpr std::uint16_t kNever = 0xfc00;  // minus infinity in halves: the error of a row that does not exist

// Numbers of a sketch's header, little-endian, by their offset.
template <class T>
T get(const std::uint8_t* at) {
  std::array<std::uint8_t, sizeof(T)> bytes;
  std::memcpy(bytes.data(), at, sizeof bytes);
  if constexpr (std::endian::native == std::endian::big) std::reverse(bytes.begin(), bytes.end());
  return std::bit_cast<T>(bytes);
}
template <class T>
void put(std::uint8_t* at, T value) {
  auto bytes = std::bit_cast<std::array<std::uint8_t, sizeof(T)>>(value);
  if constexpr (std::endian::native == std::endian::big) std::reverse(bytes.begin(), bytes.end());
  std::memcpy(at, bytes.data(), sizeof bytes);
}

std::size_t blocks_at(const SketchShape& shape) { return kHeaderBytes + (4 * shape.dim + 63) / 64 * 64; }

// A number that is not negative and at most 65,504 as a half, rounded up.
std::uint16_t half_above(float value) {
  if (value < 0x1p-14f) return static_cast<std::uint16_t>(std::ceil(value * 0x1p24f));
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t half = ((bits >> 23) - 112) << 10 | (bits & 0x7fffff) >> 13;
  return static_cast<std::uint16_t>(half + ((bits & 0x1fff) != 0));
}

// By how much the turned vector is longer.
double stretch(const SketchShape& shape) {
  const auto block = static_cast<double>(shape.block);
  return block * std::sqrt(block);
}

std::vector<float> centre_of(const Kernels& kernels, const Format& stored, const CodeMatrix& codes) {
  const Format format = stored.expanded();
  Expander expander(kernels, stored);
  const std::size_t step = std::max<std::size_t>(1, (codes.rows + kSampleRows - 1) / kSampleRows);
  const std::size_t count = (codes.rows + step - 1) / step;
  std::vector<std::int64_t> sums(format.dim);
  for (std::size_t r = 0; r < codes.rows; r += step) {
    parallel::checkpoint();
    std::ptrdiff_t stride = 0;
    const std::uint8_t* const row = expander.rows(codes.row(r), stride, 1);
    for (std::size_t i = 0; i < format.dim; ++i) {
      sums[i] += 2 * (format.width == kInt4 ? code_at<kInt4>(row, i) : code_at<kInt8>(row, i)) - format.levels();
    }
  }
  std::vector<float> centre(format.dim);
  if (count == 0) return centre;
  for (std::size_t i = 0; i < format.dim; ++i) {
    centre[i] = static_cast<float>(static_cast<double>(sums[i]) / static_cast<double>(count));
  }
  return centre;
}

// What all rows have at most, or at least.
struct Extremes {
  float square = 0;                                                // of the norm
  float least = std::numeric_limits<float>::infinity(), most = 0;  // of the squares of errors over those of norms

  void add(const Extremes& other) {
    square = std::max(square, other.square);
    least = std::min(least, other.least);
    most = std::max(most, other.most);
  }
};

// A row's factor and the width of its error, from its squared norm and its turned values' sum of absolute values.
Extremes write_factors(const SketchShape& shape, float square, float sum, std::uint8_t* factor, std::uint8_t* error) {
  if (square == 0 || sum == 0) {
    put(factor, std::uint16_t{0});
    put(error, std::uint16_t{0});
    return {};
  }
  const float dims = static_cast<float>(shape.bits);
  const float exact = square / sum;
  const std::uint16_t f = half_above(exact);
  const float spread = std::max(dims * exact * exact - square, 0.0f) / (dims - 1), rounding = exact / kRounding;
  const float above = (widen(Half{f}) - exact) * (std::sqrt(square) / exact);
  const std::uint16_t e = half_above(std::sqrt(spread + rounding * rounding) + above);
  put(factor, f);
  put(error, e);
  const float ratio = widen(Half{e}) * widen(Half{e}) / square;
  return {square, ratio, ratio};
}

}  // namespace

float Sketch::typical_error() const {
  const std::size_t n = std::min(rows, kSketchRows);
  float sum = 0;
  for (std::size_t r = 0; r < n; ++r) {
    sum += widen(Half{get<std::uint16_t>(blocks + shape.factors_at() + 2 * (kSketchRows + r))});
  }
  return n == 0 ? 0 : sum / static_cast<float>(n);
}

std::size_t sketch_bytes(const Format& format, std::size_t rows) {
  const SketchShape shape(format.dim);
  const std::size_t blocks = (rows + kSketchRows - 1) / kSketchRows;
  constexpr auto kMost = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max());
  if (blocks > (kMost - blocks_at(shape)) / shape.block_bytes()) throw std::bad_alloc();
  return blocks_at(shape) + blocks * shape.block_bytes();
}

Sketch read_sketch(const std::uint8_t* data, std::size_t n) {
  if (n < kHeaderBytes || std::memcmp(data, kMagic.data(), kMagic.size()) != 0) {
    fail("sketch: expected the bytes of a sketch, got " + std::to_string(n) + " other bytes");
  }
  const auto version = get<std::uint32_t>(data + 8);
  if (version != kVersion) {
    fail("sketch: expected format version " + std::to_string(kVersion) + ", got version " + std::to_string(version));
  }
  const auto dim = get<std::uint32_t>(data + 12), bits = get<std::uint32_t>(data + 16);
  const Format format = checked_format(dim, bits, 1, false);
  const auto rows = get<std::uint64_t>(data + 24);
  const SketchShape shape(format.dim);
  const std::size_t wanted = rows / kSketchRows > n ? std::numeric_limits<std::size_t>::max()  // far more, at any rate
                                                    : sketch_bytes(format, static_cast<std::size_t>(rows));
  if (n != wanted) {
    fail("sketch: expected the " + std::to_string(wanted) + " bytes of a sketch of " + std::to_string(rows) +
         " rows, got " + std::to_string(n));
  }
  Sketch sketch{shape,
                static_cast<int>(bits),
                static_cast<std::size_t>(rows),
                get<float>(data + 32),
                get<float>(data + 36),
                get<float>(data + 40),
                {},
                data + blocks_at(shape)};
  sketch.centre.resize(shape.dim);
  bool is_sound = sketch.longest >= 0 && sketch.least >= 0 && sketch.least <= sketch.most &&
                  std::isfinite(sketch.longest) && std::isfinite(sketch.most);
  for (std::size_t i = 0; i < shape.dim; ++i) {
    sketch.centre[i] = get<float>(data + kHeaderBytes + 4 * i);
    is_sound &= std::isfinite(sketch.centre[i]);
  }
  if (!is_sound) fail("sketch: its header is damaged: it holds numbers that no sketch has");
  return sketch;
}

void check_sketch(const Sketch& sketch, const Format& format, const CodeMatrix& codes) {
  const auto describe = [](std::size_t rows, std::size_t dim, int bits) {
    return std::to_string(rows) + " rows of " + std::to_string(dim) + " dimensions of " + std::to_string(bits) +
           " bits";
  };
  if (sketch.rows != codes.rows || sketch.shape.dim != format.dim || sketch.code_bits != format.bits()) {
    fail("sketch: expected one of " + describe(codes.rows, format.dim, format.bits()) + ", got one of " +
         describe(sketch.rows, sketch.shape.dim, sketch.code_bits));
  }
}

void build_sketch(const Format& stored, const CodeMatrix& codes, unsigned threads, std::uint8_t* out) {
  const DefaultFloatEnvironment environment;
  const Kernels& kernels = dispatch::table();
  const Format format = stored.expanded();
  const SketchShape shape(format.dim);
  const std::vector<float> centre = centre_of(kernels, stored, codes);
  const float shrink = static_cast<float>(1 / stretch(shape));
  std::memset(out, 0, blocks_at(shape));  // until all is done these are no sketch's bytes
  std::uint8_t* const blocks = out + blocks_at(shape);
  parallel::Chunks chunks((codes.rows + kSketchRows - 1) / kSketchRows, kBlocksAtOnce);
  Extremes all;
  std::mutex mutex;
  parallel::run(parallel::worth(threads, codes.rows * format.dim, kValuesPerThread), [&](unsigned) {
    std::vector<float> scratch(32 * shape.bits);
    Expander expander(kernels, stored);
    Extremes mine;
    std::size_t begin = 0, end = 0;
    while (chunks.next(begin, end)) {
      for (std::size_t b = begin; b < end; ++b) {
        parallel::checkpoint();
        const std::size_t first = b * kSketchRows, n = std::min(kSketchRows, codes.rows - first);
        std::uint8_t* const block = blocks + b * shape.block_bytes();
        std::array<float, kSketchRows> squares, sums;
        std::ptrdiff_t stride = codes.stride;
        const std::uint8_t* const rows = expander.rows(codes.row(first), stride, n);
        kernels.sketch_rows[format.width](rows, stride, n, shape, centre.data(), scratch.data(), block, squares.data(),
                                          sums.data());
        std::uint8_t* const factors = block + shape.factors_at();
        std::uint8_t* const errors = factors + 2 * kSketchRows;
        for (std::size_t r = 0; r < n; ++r) {
          mine.add(write_factors(shape, squares[r], sums[r] * shrink, factors + 2 * r, errors + 2 * r));
        }
        for (std::size_t r = n; r < kSketchRows; ++r) {
          put(factors + 2 * r, std::uint16_t{0});
          put(errors + 2 * r, kNever);
        }
      }
    }
    const std::lock_guard lock(mutex);
    all.add(mine);
  });
  std::memcpy(out, kMagic.data(), kMagic.size());
  put(out + 8, kVersion);
  put(out + 12, static_cast<std::uint32_t>(format.dim));
  put(out + 16, static_cast<std::uint32_t>(stored.bits()));
  put(out + 24, static_cast<std::uint64_t>(codes.rows));
  put(out + 32, std::sqrt(all.square));
  put(out + 36, all.most == 0 ? 0.0f : all.least);
  put(out + 40, all.most);
  for (std::size_t i = 0; i < shape.dim; ++i) put(out + kHeaderBytes + 4 * i, centre[i]);
}

SketchQueries::SketchQueries(const Format& format, const Queries& queries, std::size_t first, std::size_t last,
                             const Sketch& sketch, double width)
    : format_(format),
      source_(queries),
      sketch_(sketch),
      width_(width),
      first_(first),
      queries_(last - first),
      tables_((last - first) * sketch.shape.tables_bytes()),
      values_(2 * sketch.shape.bits) {
  for (std::size_t q = first; q < last; ++q) {
    parallel::checkpoint();
    prepare(q, tables_.data() + (q - first) * sketch.shape.tables_bytes());
  }
}

void SketchQueries::prepare(std::size_t q, std::uint8_t* tables) {
  const SketchShape& shape = sketch_.shape;
  std::fill(values_.begin(), values_.end(), 0.0);
  double squares = 0, at_centre = 0, centre_squares = 0;
  for (std::size_t i = 0; i < shape.dim; ++i) {
    const std::size_t position = source_.position(i);
    const double value = source_.bits == 32 ? static_cast<double>(source_.real(q)[position])
                                            : static_cast<double>(source_.integer(q)[position]);
    const auto centre = static_cast<double>(sketch_.centre[i]);
    values_[i] = value;
    squares += value * value;
    at_centre += value * centre;
    centre_squares += centre * centre;
  }
  const double norm = std::sqrt(squares);
  const double* const turned = turn<1>(shape, values_.data(), values_.data() + shape.bits);

  // Whole steps: of any four neighbours, at most kTableMost together; each may have been rounded up by a half.
  const double shrink = 1 / stretch(shape);
  double widest = 0;
  for (std::size_t i = 0; i < shape.bits; i += 4) {
    widest = std::max(
        widest, std::fabs(turned[i]) + std::fabs(turned[i + 1]) + std::fabs(turned[i + 2]) + std::fabs(turned[i + 3]));
  }
  const double step = widest * shrink / (kTableMost - 2);
  double along = 0, kept = 0;  // of the rounded values: the product with the values, the square
  int total = 0;
  for (std::size_t i = 0; i < shape.bits; i += 4, tables += kTableEntries) {
    std::array<int, 4> steps{};
    for (std::size_t j = 0; j < 4; ++j) {
      const double value = turned[i + j] * shrink;
      if (step > 0) steps[j] = static_cast<int>(std::lrint(value / step));
      const double rounded = step * steps[j];
      along += value * rounded;
      kept += rounded * rounded;
      total += std::abs(steps[j]);
    }
    for (std::size_t v = 0; v < kTableEntries; ++v) {
      int entry = 0;
      for (std::size_t j = 0; j < 4; ++j) {
        if ((v >> j & 1) == (steps[j] >= 0)) entry += std::abs(steps[j]);
      }
      tables[v] = static_cast<std::uint8_t>(entry);
    }
  }

  const double scale =
      static_cast<double>(source_.bits == 32 ? static_cast<float>(format_.half_step()) : source_.scale[q]);
  const double slack = norm * (static_cast<double>(sketch_.longest) + std::sqrt(centre_squares)) * 0x1p-16;
  // A row's score lies within its error only times √(1 - cos²) of its angle with the query: so the estimate may be
  // shrunk by 1 / (1 + w²), and the error by the root of that, where w is the row's error over its norm times the
  // width.
  const auto shrunk = [&](float ratio) { return 1 / (1 + width_ * width_ * static_cast<double>(ratio)); };
  const double above = shrunk(sketch_.least), below = shrunk(sketch_.most);
  // Rounding changes the length along the query, which is made good, and adds what is at right angles to it: of that,
  // a row's error allows for kRounding already, and what is beyond weighs as much as the row's factor over its error,
  // squared, which no row has more of than this (docs/format.md §7).
  const double longer = along > 0 ? squares / along : 1;
  const double lost = longer * longer * kept - squares;
  constexpr double kAllowed = 1 / (static_cast<double>(kRounding) * static_cast<double>(kRounding));
  const double most_weight =
      sketch_.least > 0
          ? std::min(1 / kAllowed, 1 + 1 / (static_cast<double>(shape.bits) * static_cast<double>(sketch_.least)))
          : 1 / kAllowed;
  const double error_squares = squares + most_weight * std::max(0.0, lost - squares * kAllowed);
  SketchQuery& query = queries_[q - first_];
  query.tables = tables - shape.tables_bytes();
  query.slope = static_cast<float>(2 * step * longer * scale * above);
  query.offset = static_cast<float>(-step * longer * total * scale * above);
  query.below = static_cast<float>(below / above);
  query.width = static_cast<float>(width_ * std::sqrt(error_squares) * scale * std::sqrt(above));
  query.base = static_cast<float>((at_centre + slack) * scale);
}

}  // namespace frazil
