// Kernels without a width: picking dots and rows by their bounds, and the unit's own rate.
#include <cstring>
#include <limits>

#include "../../csrc/floats.h"
#include "inputs.h"
#include "sets.h"
#include "stage.h"

namespace frazil::native {
namespace {

constexpr std::size_t kDims[] = {2, 64, 65, 192, 256, 320, 384, 512, 768, 1024, 1536, 4096};
constexpr std::size_t kQuickDims[] = {64, 192, 256, 768};
constexpr std::size_t kBlocks = 4;
constexpr std::size_t kQueries = 9;
constexpr Side kSides[] = {Side::kEnd, Side::kStart};

template <class Fn>
void each_set(const Sets& sets, Report& report, const char* name, Fn&& fn) {
  for (const Set& set : sets.tested) {
    if (!set.tests(name)) continue;
    report.begin(set.name.c_str(), name);
    for (const Side side : kSides) {
      report.now.layout.side = side;
      fn(*set.kernels, side);
    }
  }
}

void sweep_select(const Sets& sets, Report& report, Golden& golden, Stage& stage) {
  constexpr auto kLowest = std::numeric_limits<std::int32_t>::min(),
                 kHighest = std::numeric_limits<std::int32_t>::max();
  Random random("select");
  std::vector<std::int32_t> dots(1024);
  for (std::size_t i = 0; i < dots.size(); ++i) {
    dots[i] = static_cast<std::int32_t>(random.next() >> 32) >> random.below(32);
    if (i % 61 == 7) dots[i] = kLowest;
    if (i % 67 == 11) dots[i] = kHighest;
  }
  const std::int32_t thresholds[] = {kLowest, kLowest + 1, -1000, 0, 1, 1000, dots[5], kHighest};
  std::uint64_t digest = kFnvStart;
  for (const std::int32_t threshold : thresholds) {
    const std::size_t count = stage.select(sets.scalar->select, dots.data(), dots.size(), threshold, Side::kEnd);
    digest = fnv(stage.output(0).data(), count * sizeof(std::uint32_t), digest);
  }
  report.begin("scalar", "select");
  golden.check(report, "select", digest);
  each_set(sets, report, "select", [&](const Kernels& kernels, Side side) {
    for (std::size_t n = 0; n <= dots.size(); n += n < 66 ? 1 : 137) {
      for (const std::int32_t threshold : thresholds) {
        report.now.rows = n;
        std::vector<std::uint32_t> picked;
        for (std::size_t i = 0; i < n; ++i) {
          if (dots[i] >= threshold) picked.push_back(static_cast<std::uint32_t>(i));
        }
        const std::size_t count = stage.select(kernels.select, dots.data(), n, threshold, side);
        report.check(count == picked.size(), "how many dots are picked");
        report.check_bytes(stage.output(0).data(), picked.data(), std::min(count, picked.size()) * sizeof(picked[0]),
                           "which dots are picked");
        report.check(stage.intact(), "nothing is written beside the output");
      }
    }
  });
}

// Blocks of sketches and queries, from whole numbers and powers of two.
struct Sketches {
  SketchShape shape;
  Bytes blocks, tables;
  std::vector<SketchQuery> queries;
  std::vector<float> least;

  explicit Sketches(std::size_t dim)
      : shape(dim), blocks(kBlocks * shape.block_bytes()), tables(kQueries * shape.tables_bytes()) {
    Random random("sketches " + std::to_string(dim));
    for (auto& byte : blocks) byte = static_cast<std::uint8_t>(random.next() >> 56);
    for (std::size_t b = 0; b < kBlocks; ++b) {
      std::uint8_t* const factors = blocks.data() + b * shape.block_bytes() + shape.factors_at();
      for (std::size_t i = 0; i < 2 * kSketchRows; ++i) {
        auto half = static_cast<std::uint16_t>(random.below(0x4400));  // up to 4, subnormal ones and 0 among them
        if (i % 16 == 3) half = static_cast<std::uint16_t>(random.below(0x400));
        if (i >= kSketchRows && i % 16 == 5) half = 0xfc00;  // the error of a row that does not exist
        factors[2 * i] = static_cast<std::uint8_t>(half);
        factors[2 * i + 1] = static_cast<std::uint8_t>(half >> 8);
      }
    }
    for (std::size_t q = 0; q < kQueries; ++q) {
      std::uint8_t* const table = tables.data() + q * shape.tables_bytes();
      for (std::size_t i = 0; i < shape.tables_bytes(); ++i) {
        table[i] = static_cast<std::uint8_t>(q == 3 ? kTableMost : random.below(kTableMost + 1));
      }
      const auto middle = static_cast<float>(shape.bits / 4 * (kTableMost / 2));
      SketchQuery query{table,
                        0x1p-12f,
                        -0x1p-12f * middle,
                        0.875f,
                        static_cast<float>(random.below(9)) / 16,
                        static_cast<float>(random.below(64)) / 256 - 0.125f};
      if (q == 5) query = {table, 0, -0.0f, 1, 0, 0};  // a query of zeros
      queries.push_back(query);
      constexpr float kInfinity = std::numeric_limits<float>::infinity();
      const float choices[] = {0, -kInfinity, 0.25f, kInfinity};
      least.push_back(choices[q % std::size(choices)]);
    }
  }
};

void sweep_sketch_select(const Sets& sets, Report& report, Golden& golden, Stage& stage, std::size_t dim) {
  const Sketches sketches(dim);
  std::vector<std::vector<std::uint32_t>> rows;
  std::vector<std::vector<float>> bounds;
  std::uint64_t digest = kFnvStart;
  std::size_t counts[Stage::kMostQueries] = {};
  stage.sketch_select(sets.scalar->sketch_select, sketches.blocks.data(), kBlocks, sketches.shape,
                      sketches.queries.data(), kQueries, sketches.least.data(), counts, Side::kEnd);
  for (std::size_t q = 0; q < kQueries; ++q) {
    rows.emplace_back(counts[q]);
    bounds.emplace_back(counts[q]);
    if (counts[q] > 0) {
      std::memcpy(rows[q].data(), stage.output(2 * q).data(), counts[q] * sizeof(std::uint32_t));
      std::memcpy(bounds[q].data(), stage.output(2 * q + 1).data(), counts[q] * sizeof(float));
    }
    digest = fnv(rows[q].data(), counts[q] * sizeof(std::uint32_t), digest);
    digest = fnv(bounds[q].data(), counts[q] * sizeof(float), digest);
  }
  report.begin("scalar", "sketch_select");
  report.now.dim = dim;
  golden.check(report, "sketch_select " + std::to_string(dim), digest);
  each_set(sets, report, "sketch_select", [&](const Kernels& kernels, Side side) {
    for (std::size_t blocks = 0; blocks <= kBlocks; ++blocks) {
      for (std::size_t n = 0; n <= kQueries; ++n) {
        report.now.dim = dim;
        report.now.rows = blocks * kSketchRows;
        report.now.queries = n;
        stage.sketch_select(kernels.sketch_select, sketches.blocks.data(), blocks, sketches.shape,
                            sketches.queries.data() + (kQueries - n), n, sketches.least.data() + (kQueries - n), counts,
                            side);
        bool same = true;
        for (std::size_t i = 0; i < n; ++i) {
          const std::size_t q = kQueries - n + i;
          const auto end = std::lower_bound(rows[q].begin(), rows[q].end(), blocks * kSketchRows);
          const auto count = static_cast<std::size_t>(end - rows[q].begin());
          same &= counts[i] == count;
          if (!same || count == 0) continue;
          same &= std::memcmp(stage.output(2 * i).data(), rows[q].data(), count * sizeof(std::uint32_t)) == 0;
          same &= std::memcmp(stage.output(2 * i + 1).data(), bounds[q].data(), count * sizeof(float)) == 0;
        }
        report.check(same, "the rows and their bounds");
        report.check(stage.intact(), "nothing is written beside the outputs");
      }
    }
  });
}

// What it sums up is the set's own affair; that it does what it says can be told from its repeating and adding up.
void try_dot_peak(const Sets& sets, Report& report, Stage& stage) {
  const Bytes codes = code_rows("peak", 1, 512);
  const auto query = integer_queries("peak query", 1, kInt8, 512);
  each_set(sets, report, "dot_peak", [&](const Kernels& kernels, Side side) {
    Bytes sums[2];
    std::uint64_t products[2] = {};
    for (int i = 0; i < 2; ++i) {
      products[i] = stage.dot_peak(kernels.dot_peak, 96, codes.data(), query.data(), side);
      sums[i].assign(stage.output(0).data(), stage.output(0).data() + stage.output(0).size());
      report.check(stage.intact(), "nothing is written beside the sums");
    }
    report.check(sums[0] == sums[1] && products[0] == products[1], "the same again");
    report.check(std::any_of(sums[0].begin(), sums[0].end(), [](std::uint8_t byte) { return byte != 0; }),
                 "something is summed up");
    report.check(products[0] >= 96 * 64 &&
                     stage.dot_peak(kernels.dot_peak, 192, codes.data(), query.data(), side) == 2 * products[0],
                 "twice the rounds, twice the products");
    report.check(stage.dot_peak(kernels.dot_peak, 0, codes.data(), query.data(), side) == 0, "no rounds, no products");
  });
}

}  // namespace

void sweep_selections(const Sets& sets, Report& report, Golden& golden, bool quick) {
  Stage stage;
  sweep_select(sets, report, golden, stage);
  if (quick) {
    for (const std::size_t dim : kQuickDims) sweep_sketch_select(sets, report, golden, stage, dim);
  } else {
    for (const std::size_t dim : kDims) sweep_sketch_select(sets, report, golden, stage, dim);
  }
  try_dot_peak(sets, report, stage);
}

}  // namespace frazil::native
