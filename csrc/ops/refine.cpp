#include "refine.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "../dispatch.h"
#include "../float_environment.h"
#include "../parallel.h"
#include "pack.h"

namespace frazil {
namespace {

constexpr std::size_t kChunkRows = 32;
constexpr std::size_t kBlockRows = 8;            // at most, whose products with the metric are made together
constexpr std::size_t kBlockWork = 1 << 25;      // at most, of those products: some milliseconds
constexpr std::size_t kWorkPerThread = 1 << 18;  // multiplications, roughly
constexpr std::size_t kPassesPerRow = 8;         // over a row's values, without a metric

// How much an error along the vector counts more than one across it: from 6 to 32 makes no difference to recall.
constexpr double kAlong = 16;
// What a move must gain at least, as a part of its bend: more than roundings could pretend.
constexpr float kMargin = 65.0f / 64;
constexpr std::size_t kMostMoves = 4;  // for each dimension; far more than are ever made

}  // namespace

// The arrays of kBlockRows rows.
class Loss::Block {
 public:
  Block(const Loss& loss, const Kernels& kernels, const FloatMatrix& x)
      : loss_(loss),
        kernels_(kernels),
        format_(loss.format_),
        stride_(loss.stride_),
        reader_(loss.format_, x),
        errors_(kBlockRows * stride_),
        gradients_(loss.metric_.empty() ? 0 : kBlockRows * stride_),
        values_(kBlockRows * stride_),
        bends_(kBlockRows * stride_),
        ups_(stride_),
        downs_(stride_),
        codes_(stride_) {}

  void refine(std::size_t begin, std::size_t n, std::uint8_t* rows) {
    for (std::size_t r = 0; r < n; ++r) load(begin + r, r, rows + r * format_.row_bytes());
    const bool metric = !loss_.metric_.empty();
    if (metric) {
      kernels_.metric_rows(loss_.metric_.data(), stride_, format_.dim, errors_.data(), n, gradients_.data());
    }
    const auto last = static_cast<std::size_t>(format_.last());
    for (std::size_t r = 0; r < n; ++r) {
      std::uint8_t* const row = rows + r * format_.row_bytes();
      if (zero_[r]) continue;
      for (std::size_t i = 0; i < format_.dim; ++i) {
        const std::size_t code = code_of(row, i);
        codes_[i] = static_cast<std::uint8_t>(code);
        ups_[i] = code < last ? loss_.levels_[code + 1] - loss_.levels_[code] : 0.0f;
        downs_[i] = code > 0 ? loss_.levels_[code] - loss_.levels_[code - 1] : 0.0f;
      }
      const Refinement refinement{
          .stride = stride_,
          .most = kMostMoves * format_.dim,
          .metric = metric ? loss_.metric_.data() : nullptr,
          .levels = loss_.levels_.data(),
          .last = format_.last(),
          .values = values_.data() + r * stride_,
          .bend = bends_.data() + r * stride_,
          .weight = weight(),
          .along = along_[r],
          .gradient = (metric ? gradients_ : errors_).data() + r * stride_,
          .up = ups_.data(),
          .down = downs_.data(),
          .codes = codes_.data(),
      };
      if (kernels_.refine_row(refinement) > 0) store(row);
    }
  }

 private:
  // Of the squared error along the vector, beyond what the metric says: in half steps.
  float weight() const {
    const double half_step = format_.half_step();
    return static_cast<float>((kAlong - 1) * half_step * half_step);
  }

  std::size_t code_of(const std::uint8_t* row, std::size_t i) const {
    return static_cast<std::size_t>(format_.width == kInt8 ? code_at<kInt8>(row, i) : code_at<kInt4>(row, i));
  }

  void store(std::uint8_t* row) const {
    if (format_.width == kInt8) {
      std::copy_n(codes_.data(), format_.dim, row);
    } else {
      for (std::size_t j = 0; j < format_.dim / 2; ++j) {
        row[j] = static_cast<std::uint8_t>(codes_[2 * j] << 4 | codes_[2 * j + 1]);
      }
    }
  }

  void load(std::size_t number, std::size_t r, const std::uint8_t* row) {
    double squares = 0;
    const std::vector<double>& x = reader_.doubles(number, squares);
    zero_[r] = squares == 0;
    const double scale = zero_[r] ? 0 : 2 * (format_.steps_per_unit() / std::sqrt(squares));
    float* const values = values_.data() + r * stride_;
    float* const errors = errors_.data() + r * stride_;
    float* const bends = bends_.data() + r * stride_;
    const float weight_along = weight();
    std::array<float, 32> along{};
    for (std::size_t i = 0; i < format_.dim; ++i) values[i] = static_cast<float>(x[i] * scale);
    for (std::size_t i = 0; i < format_.dim; ++i) errors[i] = loss_.levels_[code_of(row, i)] - values[i];
    for (std::size_t i = 0; i < stride_; ++i) {
      bends[i] = (loss_.diagonal_[i] + weight_along * (values[i] * values[i])) * kMargin;
    }
    for (std::size_t first = 0; first < stride_; first += 32) {
      for (std::size_t k = 0; k < 32; ++k) along[k] += errors[first + k] * values[first + k];
    }
    for (std::size_t h = 16; h > 0; h /= 2) {
      for (std::size_t k = 0; k < h; ++k) along[k] += along[k + h];
    }
    along_[r] = along[0];
  }

  const Loss& loss_;
  const Kernels& kernels_;
  const Format& format_;
  const std::size_t stride_;
  RowReader reader_;
  std::vector<float> errors_, gradients_, values_, bends_, ups_, downs_;
  std::vector<std::uint8_t> codes_;
  std::array<float, kBlockRows> along_{};
  std::array<bool, kBlockRows> zero_{};
};

Loss::Loss(const Format& format, const Metric* metric)
    : format_(format),
      stride_((format.dim + kRefineAlign - 1) / kRefineAlign * kRefineAlign),
      diagonal_(stride_, 1.0f) {
  for (int code = 0; code <= format.last(); ++code) {
    const int level = format.width == kNormal4 ? kNormalLevels[code] : code;
    levels_.push_back(static_cast<float>(2 * level - format.levels()));
  }
  if (metric == nullptr) return;
  if (metric->dim != format.dim) {
    fail("refine: expected a metric of " + std::to_string(format.dim) + " dimensions, got one of " +
         std::to_string(metric->dim));
  }
  metric_.resize(format.dim * stride_);
  for (std::size_t i = 0; i < format.dim; ++i) {
    std::copy_n(metric->data + i * format.dim, format.dim, metric_.data() + i * stride_);
    diagonal_[i] = metric->data[i * format.dim + i];
  }
}

void Loss::refine_rows(const Kernels& kernels, const FloatMatrix& x, std::size_t begin, std::size_t end,
                       std::uint8_t* codes) const {
  Block block(*this, kernels, x);
  const std::size_t rows = std::clamp<std::size_t>(kBlockWork / (stride_ * stride_), 1, kBlockRows);
  for (std::size_t row = begin; row < end; row += rows) {
    parallel::checkpoint();
    block.refine(row, std::min(rows, end - row), codes + (row - begin) * format_.row_bytes());
  }
}

void pack_refined(const Format& format, const FloatMatrix& x, const char* name, const Metric* metric, unsigned threads,
                  std::uint8_t* out) {
  const DefaultFloatEnvironment environment;
  const Kernels& kernels = dispatch::table();
  const Loss loss(format, metric);
  const std::size_t work = x.rows * format.dim * (metric != nullptr ? format.dim : kPassesPerRow);
  const unsigned workers = parallel::worth(threads, work, kWorkPerThread);
  const std::size_t first_bad =
      parallel::first_stop(x.rows, kChunkRows, workers, [&](unsigned, std::size_t begin, std::size_t end) {
        std::uint8_t* const codes = out + begin * format.row_bytes();
        const std::size_t stopped = pack_rows(kernels, format, x, begin, end, codes);
        if (stopped == end) loss.refine_rows(kernels, x, begin, end, codes);
        return stopped;
      });
  if (first_bad < x.rows) fail_not_finite(name, first_bad);
}

}  // namespace frazil
