#include "pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../dispatch.h"
#include "../float_environment.h"
#include "../floats.h"
#include "../parallel.h"
#include "../squares.h"
#include "expand.h"

namespace frazil {
namespace {

constexpr std::size_t kChunkRows = 256;
constexpr std::size_t kBlockRows = 64;             // that a kernel packs, asking for others in one way
constexpr std::size_t kValuesPerThread = 1 << 18;  // fewer are packed before another thread has woken

std::size_t size_of(FloatType type) {
  switch (type) {
    case FloatType::kHalf:
    case FloatType::kBfloat16:
      return 2;
    case FloatType::kSingle:
      return 4;
    case FloatType::kDouble:
      break;
  }
  return 8;
}

Kernels::Pack* const* pack_kernels(const Kernels& kernels, FloatType type) {
  switch (type) {
    case FloatType::kHalf:
      return kernels.pack_half;
    case FloatType::kBfloat16:
      return kernels.pack_bfloat16;
    case FloatType::kSingle:
      return kernels.pack_single;
    case FloatType::kDouble:
      break;
  }
  return kernels.pack_double;
}

double squares_of(const std::vector<double>& values) {
  return sum_of_squares<double>(reinterpret_cast<const std::byte*>(values.data()), values.size());
}

// Scales values by a power of two so that the largest is in [1, 2), rounding them to the row's own type. Returns the
// new sum of squares: 0 if all are zero, NaN if one is not finite.
double rescale(std::vector<double>& values, bool to_single) {
  for (const double value : values) {
    if (!std::isfinite(value)) return std::numeric_limits<double>::quiet_NaN();
  }
  const double largest = largest_of(values);
  if (largest == 0) return 0;
  const int exponent = std::ilogb(largest);
  for (double& value : values) {
    value = std::ldexp(value, -exponent);
    if (to_single) value = static_cast<double>(static_cast<float>(value));
  }
  return squares_of(values);
}

// To the normal levels that are nearest to 8-bit codes.
std::size_t pack_normal(const Kernels& kernels, const Format& format, const FloatMatrix& x, std::size_t begin,
                        std::size_t end, std::uint8_t* out, PackTrial* trial) {
  std::vector<std::uint8_t> fine((end - begin) * format.dim);
  const std::size_t stopped = pack_rows(kernels, format.expanded(), x, begin, end, fine.data(), trial);
  const std::uint8_t* const last = fine.data() + (stopped - begin) * format.dim;
  for (const std::uint8_t* at = fine.data(); at < last; at += 2) {
    *out++ = static_cast<std::uint8_t>(kNearestNormal[at[0]] << 4 | kNearestNormal[at[1]]);
  }
  return stopped;
}

// Packs a row that the kernel left out. Returns false if it is not finite.
bool pack_unusual(const Kernels& kernels, const Format& format, RowReader& reader, bool is_double, std::size_t row,
                  std::uint8_t* out) {
  double squares = 0;
  const std::vector<double>& values = reader.doubles(row, squares);
  if (std::isnan(squares)) return false;
  if (squares == 0) {
    const int zero = 1 << (format.bits() - 1);
    std::memset(out, format.width == kInt4 ? zero << 4 | zero : zero, format.row_bytes());
  } else if (is_double) {
    kernels.pack_double[format.width](reinterpret_cast<const std::byte*>(values.data()), 0, 1, format.dim,
                                      format.steps_per_unit(), out, {});
  } else {
    std::vector<float> narrow(values.size());
    std::transform(values.begin(), values.end(), narrow.begin(), [](double v) { return static_cast<float>(v); });
    kernels.pack_single[format.width](reinterpret_cast<const std::byte*>(narrow.data()), 0, 1, format.dim,
                                      format.steps_per_unit(), out, {});
  }
  return true;
}

}  // namespace

RowReader::RowReader(const Format& format, const FloatMatrix& x)
    : format_(format), x_(x), in_place_(x.column_stride == static_cast<std::ptrdiff_t>(size_of(x.type))) {}

const std::byte* RowReader::values(std::size_t row) {
  const std::byte* at = x_.row(row);
  if (in_place_) return at;
  const std::size_t size = size_of(x_.type);
  copy_.resize(format_.dim * size);
  for (std::size_t i = 0; i < format_.dim; ++i, at += x_.column_stride) std::memcpy(copy_.data() + i * size, at, size);
  return copy_.data();
}

std::vector<double>& RowReader::doubles(std::size_t row, double& squares) {
  const std::byte* const at = values(row);
  doubles_.resize(format_.dim);
  const auto convert = [&]<class T>(T value) {
    for (std::size_t i = 0; i < format_.dim; ++i) {
      std::memcpy(&value, at + i * sizeof value, sizeof value);
      doubles_[i] = static_cast<double>(widen(value));
    }
  };
  switch (x_.type) {
    case FloatType::kHalf:
      convert(Half{});
      break;
    case FloatType::kBfloat16:
      convert(Bfloat16{});
      break;
    case FloatType::kSingle:
      convert(float{});
      break;
    case FloatType::kDouble:
      convert(double{});
      break;
  }
  squares = squares_of(doubles_);
  if (!(squares >= kMinSquares && squares <= kMaxSquares)) squares = rescale(doubles_, x_.type != FloatType::kDouble);
  return doubles_;
}

double largest_of(const std::vector<double>& values) {
  double largest[4] = {};  // that need not wait for each other
  for (std::size_t i = 0; i < values.size(); ++i) largest[i % 4] = std::max(largest[i % 4], std::fabs(values[i]));
  return *std::max_element(largest, largest + 4);
}

void fail_not_finite(const char* name, std::size_t row) {
  fail(std::string(name) + ": row " + std::to_string(row) +
       " holds NaN or infinity; every value that is kept must be finite");
}

std::size_t pack_rows(const Kernels& kernels, const Format& format, const FloatMatrix& x, std::size_t begin,
                      std::size_t end, std::uint8_t* out, PackTrial* trial) {
  if (format.width == kNormal4) return pack_normal(kernels, format, x, begin, end, out, trial);
  Kernels::Pack* const kernel = pack_kernels(kernels, x.type)[format.width];
  const double steps = format.steps_per_unit();
  RowReader reader(format, x);
  Ahead::Way way = Ahead::kInOrder;
  for (std::size_t row = begin, block_end = begin; row < end;) {
    if (row >= block_end) {
      parallel::checkpoint();
      block_end = std::min(end, row + kBlockRows);
      if (trial != nullptr) way = trial->next();
    }
    // Rows that lie ready are packed in one go, the others one by one; either way up to the first unusual one.
    std::uint8_t* const to = out + (row - begin) * format.row_bytes();
    const std::size_t most = reader.in_place() ? block_end - row : 1;
    const std::ptrdiff_t stride = reader.in_place() ? x.row_stride : 0;
    const RowsAhead ahead{reader.in_place() ? way : Ahead::kNothing, row};
    const std::size_t packed = kernel(reader.values(row), stride, most, format.dim, steps, to, ahead);
    row += packed;
    if (packed == most) continue;
    if (!pack_unusual(kernels, format, reader, x.type == FloatType::kDouble, row, to + packed * format.row_bytes()))
      return row;
    ++row;
  }
  return end;
}

void pack(const Format& format, const FloatMatrix& x, const char* name, unsigned threads, std::uint8_t* out) {
  const DefaultFloatEnvironment environment;
  const Kernels& kernels = dispatch::table();
  const unsigned workers = parallel::worth(threads, x.rows * format.dim, kValuesPerThread);
  std::vector<PackTrial> trials(workers, PackTrial(kBlockRows * format.dim * size_of(x.type)));
  const std::size_t first_bad =
      parallel::first_stop(x.rows, kChunkRows, workers, [&](unsigned slot, std::size_t begin, std::size_t end) {
        return pack_rows(kernels, format, x, begin, end, out + begin * format.row_bytes(), &trials[slot]);
      });
  if (first_bad < x.rows) fail_not_finite(name, first_bad);
}

void unpack(const Format& format, const CodeMatrix& codes, unsigned threads, float* out) {
  const DefaultFloatEnvironment environment;
  const Kernels& kernels = dispatch::table();
  const Format expanded = format.expanded();
  const float half_step = static_cast<float>(expanded.half_step());
  parallel::Chunks chunks(codes.rows, kChunkRows);
  parallel::run(parallel::worth(threads, codes.rows * format.dim, kValuesPerThread), [&](unsigned) {
    Expander expander(kernels, format);
    std::size_t begin = 0, end = 0;
    while (chunks.next(begin, end)) {
      std::ptrdiff_t stride = codes.stride;
      const std::uint8_t* const rows = expander.rows(codes.row(begin), stride, end - begin);
      kernels.unpack[expanded.width](rows, stride, end - begin, format.dim, half_step, out + begin * format.dim);
    }
  });
}

}  // namespace frazil
