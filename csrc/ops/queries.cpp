#include "queries.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

#include "../parallel.h"
#include "pack.h"

namespace frazil {
namespace {

constexpr std::size_t kChunk = 16;
constexpr std::size_t kValuesPerThread = 1 << 17;  // these are slower than packing (pack.cpp): half as many

// docs/format.md §4. Each returns false if the row is not finite.
class Preparer {
 public:
  Preparer(const Kernels& kernels, const Format& format, const FloatMatrix& x, Queries& queries)
      : kernels_(kernels), format_(format), x_(x), queries_(queries), reader_(format, x) {}

  bool prepare(std::size_t q) {
    double squares = 0;
    const std::vector<double>& values = reader_.doubles(q, squares);
    if (std::isnan(squares)) return false;
    if (queries_.bits == 8) {
      eight_bits(q, values, squares);
    } else if (queries_.bits == 4) {
      four_bits(q, values, squares);
    } else {
      const double norm = squares != 0 ? std::sqrt(squares) : 1;
      float* const to = entries(queries_.floats, q);
      for (std::size_t i = 0; i < values.size(); ++i) to[queries_.position(i)] = static_cast<float>(values[i] / norm);
    }
    return true;
  }

 private:
  // A query's entries, all of them zero.
  template <class T>
  T* entries(const LineArray<T>& all, std::size_t q) {
    T* const to = all.get() + q * queries_.stride;
    std::fill_n(to, queries_.stride, T{0});
    return to;
  }

  void eight_bits(std::size_t q, const std::vector<double>& values, double squares) {
    std::int8_t* const to = entries(queries_.integers, q);
    if (squares == 0) return finish(q, 0);
    const double largest = largest_of(values);
    const double to_steps = 127 / largest;
    for (std::size_t i = 0; i < values.size(); ++i) {
      to[queries_.position(i)] = static_cast<std::int8_t>(std::lrint(values[i] * to_steps));
    }
    finish(q, largest / std::sqrt(squares) / 127);
  }

  // As a document is packed, by the same kernel: of an even number of values, the last of which may be an added zero.
  void four_bits(std::size_t q, const std::vector<double>& values, double squares) {
    const std::size_t even = (values.size() + 1) / 2 * 2;
    codes_.assign(even / 2, 0x88);  // a zero row's
    if (squares != 0) {
      const double steps = Format{even, kInt4, format_.limit}.steps_per_unit();
      if (x_.type == FloatType::kDouble) {
        pack_padded(kernels_.pack_double[kInt4], padded_doubles_, values, even, steps);
      } else {
        pack_padded(kernels_.pack_single[kInt4], padded_floats_, values, even, steps);
      }
    }
    std::int8_t* const to = entries(queries_.integers, q);
    for (std::size_t i = 0; i < values.size(); ++i) {
      to[queries_.position(i)] = static_cast<std::int8_t>(2 * code_at<kInt4>(codes_.data(), i) - 15);
    }
    finish(q, format_.limit / 15);
  }

  template <class T>
  void pack_padded(Kernels::Pack* kernel, std::vector<T>& padded, const std::vector<double>& values, std::size_t even,
                   double steps) {
    padded.assign(even, 0);
    std::transform(values.begin(), values.end(), padded.begin(), [](double v) { return static_cast<T>(v); });
    kernel(reinterpret_cast<const std::byte*>(padded.data()), 0, 1, even, steps, codes_.data(), {});
  }

  void finish(std::size_t q, double scale) {
    const std::int8_t* const query = queries_.integer(q);
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < queries_.stride; ++i) sum += query[i];
    queries_.bias[q] = format_.levels() * sum;
    queries_.scale[q] = static_cast<float>(scale * format_.half_step());
  }

  const Kernels& kernels_;
  const Format& format_;
  const FloatMatrix& x_;
  Queries& queries_;
  RowReader reader_;
  std::vector<std::uint8_t> codes_;
  std::vector<float> padded_floats_;
  std::vector<double> padded_doubles_;
};

}  // namespace

std::int32_t Queries::least_dot(std::size_t q, float bound) const {
  constexpr auto kNone = std::numeric_limits<std::int32_t>::max();
  if (bound == -std::numeric_limits<float>::infinity()) return std::numeric_limits<std::int32_t>::min();
  if (scale[q] == 0) return kNone;  // every score is 0
  const auto beats = [&](std::int64_t i) { return static_cast<float>(i) * scale[q] > bound; };
  // A damaged sketch's bound may be anything; 2 * dot - bias is less than 2^32 either way.
  const double steps = std::clamp(static_cast<double>(bound) / static_cast<double>(scale[q]), -0x1p33, 0x1p33);
  auto i = static_cast<std::int64_t>(std::floor(steps));
  if (std::abs(i) > std::int64_t{1} << 32) return i < 0 ? std::numeric_limits<std::int32_t>::min() : kNone;
  while (beats(i)) --i;
  while (!beats(i)) ++i;
  const std::int64_t dot = (i + bias[q] + 1) >> 1;  // rounded up
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(dot, std::numeric_limits<std::int32_t>::min(), kNone));
}

std::size_t span_of(const std::int8_t* entries, std::size_t n) {
  constexpr int kMostCode = 15, kMostSum = 32767;
  struct Pairs {
    int first = 0, second = 0;  // the most that the one or the other sum can come to, up or down
    explicit Pairs(const std::int8_t* at) {
      for (std::size_t i = 0; i < kLeastSpan; i += 4) {
        first += kMostCode * (std::abs(at[i]) + std::abs(at[i + 1]));
        second += kMostCode * (std::abs(at[i + 2]) + std::abs(at[i + 3]));
      }
    }
  };
  // The shortest of the stretches that fit and could not be longer.
  std::size_t span = n, begin = 0;
  int first = 0, second = 0;
  for (std::size_t end = 0; end < n; end += kLeastSpan) {
    const Pairs more(entries + end);
    first += more.first;
    second += more.second;
    for (; first > kMostSum || second > kMostSum; begin += kLeastSpan) {
      span = std::min(span, end - begin);
      const Pairs less(entries + begin);
      first -= less.first;
      second -= less.second;
    }
  }
  return span;
}

Queries prepare_queries(const Kernels& kernels, const Format& format, const FloatMatrix& x, int query_bits,
                        unsigned threads) {
  Queries queries;
  queries.count = x.rows;
  queries.bits = query_bits;
  queries.layout = query_bits == 32 ? format.expanded() : format;
  queries.stride = planes(queries.layout.width) * plane_stride(queries.layout.row_bytes());
  // Not filled with zeros here: that would take a while where there are millions.
  if (x.rows > std::numeric_limits<std::ptrdiff_t>::max() / sizeof(float) / queries.stride) throw std::bad_alloc();
  if (query_bits == 32) {
    queries.floats = make_lines<float>(x.rows * queries.stride);
  } else {
    queries.integers = make_lines<std::int8_t>(x.rows * queries.stride);
    queries.bias.resize(x.rows);
    queries.scale.resize(x.rows);
  }
  const unsigned workers = parallel::worth(threads, x.rows * format.dim, kValuesPerThread);
  const bool by_span = kernels.tiles->by_span && query_bits != 32 && x.rows >= kernels.tiles->queries;
  std::vector<std::size_t> spans(workers, queries.stride);
  const std::size_t first_bad =
      parallel::first_stop(x.rows, kChunk, workers, [&](unsigned slot, std::size_t begin, std::size_t end) {
        Preparer preparer(kernels, format, x, queries);
        for (; begin < end && preparer.prepare(begin); ++begin) {
          if (by_span) spans[slot] = std::min(spans[slot], span_of(queries.integer(begin), queries.stride));
        }
        return begin;
      });
  if (first_bad < x.rows) fail_not_finite("queries", first_bad);
  if (by_span) queries.span = *std::min_element(spans.begin(), spans.end());
  return queries;
}

}  // namespace frazil
