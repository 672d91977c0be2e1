// Kernels that refine codes: products with a metric, and moves from code to code.
#include <cstring>

#include "inputs.h"
#include "sets.h"
#include "stage.h"

namespace frazil::native {
namespace {

constexpr std::size_t kDims[] = {2, 3, 63, 64, 65, 127, 128, 130, 255, 256, 257, 320, 384, 1000, 4096};
constexpr std::size_t kQuickDims[] = {2, 65, 256};
constexpr std::size_t kMetricDim = 1000;  // more dimensions take long by a metric
constexpr std::size_t kRows = 9;
constexpr Side kSides[] = {Side::kEnd, Side::kStart};

template <class T>
std::vector<T> copy_of(const Guarded& output, std::size_t count) {
  std::vector<T> copy(count);
  std::memcpy(copy.data(), output.data(), count * sizeof(T));
  return copy;
}

class RefineSweep {
 public:
  RefineSweep(const Sets& sets, Report& report, Golden& golden, Stage& stage, std::size_t dim)
      : sets_(sets),
        report_(report),
        golden_(golden),
        stage_(stage),
        dim_(dim),
        stride_((dim + kRefineAlign - 1) / kRefineAlign * kRefineAlign),
        suffix_(" " + std::to_string(dim)),
        metric_(dim <= kMetricDim ? metric_matrix(dim, stride_) : std::vector<float>{}) {}

  void run() {
    if (!metric_.empty()) products();
    for (const int bits : {4, 8}) {
      moves(bits, false);
      if (!metric_.empty()) moves(bits, true);
    }
  }

 private:
  // Sixteenths from -`most` to `most`, zeros behind the dimensions.
  void draw(Random& random, float most, float* to) const {
    const auto numbers = static_cast<std::size_t>(32 * most) + 1;
    for (std::size_t i = 0; i < dim_; ++i) to[i] = static_cast<float>(random.below(numbers)) / 16 - most;
  }

  template <class Fn>
  void each_set(const char* name, Fn&& fn) {
    for (const Set& set : sets_.tested) {
      if (!set.tests(name)) continue;
      report_.begin(set.name.c_str(), name);
      report_.now.dim = dim_;
      for (const Side side : kSides) {
        report_.now.layout.side = side;
        fn(*set.kernels, side);
        report_.check(stage_.intact(), "nothing is written beside the outputs");
      }
    }
  }

  void check_golden(const std::string& name, std::uint64_t digest) {
    report_.begin("scalar", name.c_str());
    report_.now.dim = dim_;
    golden_.check(report_, name + suffix_, digest);
  }

  void products() {
    Random random("metric_rows" + suffix_);
    std::vector<float> rows(kRows * stride_);
    for (std::size_t r = 0; r < kRows; ++r) draw(random, 8, rows.data() + r * stride_);
    stage_.metric_rows(sets_.scalar->metric_rows, metric_.data(), stride_, dim_, rows.data(), kRows, Side::kEnd);
    const auto expected = copy_of<float>(stage_.output(0), kRows * stride_);
    check_golden("metric_rows", fnv(expected.data(), expected.size() * sizeof(float)));
    each_set("metric_rows", [&](const Kernels& kernels, Side side) {
      for (std::size_t n = 0; n <= kRows; ++n) {
        report_.now.rows = n;
        stage_.metric_rows(kernels.metric_rows, metric_.data(), stride_, dim_, rows.data(), n, side);
        report_.check_bytes(stage_.output(0).data(), expected.data(), n * stride_ * sizeof(float), "the products");
      }
    });
  }

  // A row whose levels are not equally far apart, and whose codes are far from the best.
  void moves(int bits, bool by_metric) {
    const std::string name = std::string(by_metric ? "refine_row metric " : "refine_row ") + std::to_string(bits);
    Random random(name + suffix_);
    const int last = (1 << bits) - 1;
    std::vector<float> levels, values(stride_), bend(stride_), gradient(stride_), up(stride_), down(stride_);
    float level = -static_cast<float>(last);
    for (int code = 0; code <= last; ++code, level += 1.5f + static_cast<float>(random.below(16)) / 16) {
      levels.push_back(level);
    }
    Bytes codes(dim_);
    draw(random, 8, values.data());
    draw(random, 8, gradient.data());
    const float weight = 1.0f / 64;
    for (std::size_t i = 0; i < dim_; ++i) {
      const std::size_t code = i % 7 == 3 ? 0 : i % 7 == 5 ? levels.size() - 1 : random.below(levels.size());
      codes[i] = static_cast<std::uint8_t>(code);
      if (code + 1 < levels.size()) up[i] = levels[code + 1] - levels[code];
      if (code > 0) down[i] = levels[code] - levels[code - 1];
      bend[i] = (by_metric ? metric_[i * stride_ + i] : 1.0f) + weight * values[i] * values[i];
    }
    const Refinement row{stride_,         4 * dim_,  by_metric ? metric_.data() : nullptr,
                         levels.data(),   last,      values.data(),
                         bend.data(),     weight,    3.5f,
                         gradient.data(), up.data(), down.data(),
                         codes.data()};
    const std::size_t made = stage_.refine_row(sets_.scalar->refine_row, row, dim_, Side::kEnd);
    const auto new_codes = copy_of<std::uint8_t>(stage_.output(0), dim_);
    std::vector<float> arrays[3];
    std::uint64_t digest = fnv(new_codes.data(), new_codes.size());
    for (std::size_t i = 0; i < 3; ++i) {
      arrays[i] = copy_of<float>(stage_.output(i + 1), stride_);
      digest = fnv(arrays[i].data(), stride_ * sizeof(float), digest);
    }
    check_golden(name, digest);
    report_.check(made >= dim_ / 4, "codes are moved");
    each_set("refine_row", [&](const Kernels& kernels, Side side) {
      report_.check(stage_.refine_row(kernels.refine_row, row, dim_, side) == made, "how many moves");
      report_.check_bytes(stage_.output(0).data(), new_codes.data(), dim_, "the codes");
      for (std::size_t i = 0; i < 3; ++i) {
        report_.check_bytes(stage_.output(i + 1).data(), arrays[i].data(), stride_ * sizeof(float), "the arrays");
      }
      for (const std::size_t most : {std::size_t{0}, made / 2}) {  // fewer than it wants
        Refinement fewer = row;
        fewer.most = most;
        report_.check(stage_.refine_row(kernels.refine_row, fewer, dim_, side) == most, "how many moves at most");
      }
    });
  }

  const Sets& sets_;
  Report& report_;
  Golden& golden_;
  Stage& stage_;
  const std::size_t dim_, stride_;
  const std::string suffix_;
  const std::vector<float> metric_;
};

}  // namespace

void sweep_refining(const Sets& sets, Report& report, Golden& golden, bool quick) {
  Stage stage;
  const auto sweep = [&](const auto& dims) {
    for (const std::size_t dim : dims) RefineSweep(sets, report, golden, stage, dim).run();
  };
  quick ? sweep(kQuickDims) : sweep(kDims);
}

}  // namespace frazil::native
