// Kernels that take rows of floats or codes: every width, size, stride and place, every set. Rows do not depend on each
// other, so what any call must give is the beginning of what `scalar` gives for all rows, whose digest is golden.
#include <array>
#include <cstring>
#include <limits>

#include "inputs.h"
#include "sets.h"
#include "stage.h"

namespace frazil::native {
namespace {

// Around every block, tile and register, and odd ones between; where tests/shapes.py has them, too.
constexpr std::size_t kDims4[] = {2,   4,   6,   14,  16,  30,  32,  34,  62,   64,   66,   100,  126,  128,  130, 254,
                                  256, 258, 384, 510, 512, 514, 766, 768, 1000, 1022, 1024, 1026, 2048, 4094, 4096};
constexpr std::size_t kDims8[] = {2,   3,   7,    15,   16,   17,   31,   32,   33,   63,  64,
                                  65,  100, 127,  128,  129,  255,  256,  257,  384,  511, 512,
                                  513, 768, 1000, 1023, 1024, 1025, 2047, 2048, 4095, 4096};
constexpr std::size_t kQuick4[] = {2, 16, 30, 62, 64, 66, 256, 258, 1022};
constexpr std::size_t kQuick8[] = {3, 16, 31, 63, 64, 65, 256, 257, 1023};
constexpr std::size_t kLarge = 1000;  // from so many dimensions on, and for emulators, not every combination

constexpr std::size_t kRows[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65};
constexpr std::size_t kQueries = 13;
// Of a tile: whole blocks of every set's and what may be left over.
constexpr std::size_t kTileQueries[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                                        13, 15, 16, 17, 28, 31, 32, 33, 37, 38, 45, 49};
constexpr std::size_t kMostTileQueries = kTileQueries[std::size(kTileQueries) - 1];
constexpr std::size_t kFloatQueries = 5;
constexpr Layout kLayouts[] = {
    {0, false, Side::kEnd, 0}, {0, false, Side::kStart, 0}, {1, false, Side::kEnd, 0},    {37, true, Side::kStart, 0},
    {3, true, Side::kEnd, 0},  {0, false, Side::kStart, 3}, {64, false, Side::kStart, 1},
};
constexpr FloatType kTypes[] = {FloatType::kHalf, FloatType::kBfloat16, FloatType::kSingle, FloatType::kDouble};

Kernels::Pack* pack_kernel(const Kernels& kernels, FloatType type, Width width) {
  switch (type) {
    case FloatType::kHalf:
      return kernels.pack_half[width];
    case FloatType::kBfloat16:
      return kernels.pack_bfloat16[width];
    case FloatType::kSingle:
      return kernels.pack_single[width];
    case FloatType::kDouble:
      break;
  }
  return kernels.pack_double[width];
}

template <class T>
std::vector<T> copy_of(const Guarded& output) {
  std::vector<T> copy(output.size() / sizeof(T));
  if (!copy.empty()) std::memcpy(copy.data(), output.data(), output.size());
  return copy;
}

template <class T>
std::uint64_t digest_of(const std::vector<T>& values, std::uint64_t state = kFnvStart) {
  return fnv(values.data(), values.size() * sizeof(T), state);
}

class FormatSweep {
 public:
  FormatSweep(const Sets& sets, Report& report, Golden& golden, Stage& stage, const Format& format, bool quick)
      : sets_(sets),
        report_(report),
        golden_(golden),
        stage_(stage),
        format_(format),
        width_(format.width),
        thorough_(!quick && format.dim < kLarge),
        most_(format.dim < kLarge ? 65 : 33),
        suffix_(std::string(" ") + name_of(width_) + " " + std::to_string(format.dim)),
        codes_(code_rows("codes" + suffix_, most_, format.row_bytes())) {
    report_.begin("scalar", "");
    report_.now.width = name_of(width_);
    report_.now.dim = format.dim;
  }

  void run() {
    if (width_ == kNormal4) return dots();  // the rest sees such rows as 8-bit codes
    for (const FloatType type : kTypes) pack(type);
    unpack();
    if (width_ == kInt4) expand();
    dots();
    floats();
    sketch();
  }

 private:
  // Calls fn(n, layout) for numbers of rows and layouts: all of them, or each number with one layout.
  template <class Fn>
  void each_shape(Fn&& fn) {
    report_.now.queries = 0;
    std::size_t turn = format_.dim;
    for (const std::size_t n : kRows) {
      if (n > most_) break;
      for (const Layout& layout : kLayouts) {
        if (!thorough_ && &layout != &kLayouts[turn % std::size(kLayouts)]) continue;
        report_.now.rows = n;
        report_.now.layout = layout;
        fn(n, layout);
        report_.check(stage_.intact(), "nothing is written beside the output");
      }
      ++turn;
    }
  }

  // Calls fn(kernels) for each set that tests the slot `name`, with the width's name.
  template <class Fn>
  void each_set(const char* name, Fn&& fn) {
    report_.now.operation = name;
    for (const Set& set : sets_.tested) {
      if (!set.tests(std::string(name) + "_" + name_of(width_)) || !set.tests(name)) continue;
      report_.now.set = set.name.c_str();
      fn(*set.kernels);
    }
  }

  void check_golden(const std::string& name, std::uint64_t digest) {
    report_.now.set = "scalar";
    golden_.check(report_, name + suffix_, digest);
  }

  void pack(FloatType type) {
    const std::string name = std::string("pack_") + name_of(type);
    const std::size_t row_bytes = format_.dim * size_of(type), code_bytes = format_.row_bytes();
    const Bytes rows = float_matrix(name + suffix_, type, most_, format_.dim);
    const std::size_t packed = stage_.pack(pack_kernel(*sets_.scalar, type, width_), rows.data(), most_, row_bytes,
                                           format_, Ahead::kNothing, {});
    report_.check(packed == most_, "scalar packs all rows");
    const Bytes expected = copy_of<std::uint8_t>(stage_.output(0));
    check_golden(name, digest_of(expected));
    each_set(name.c_str(), [&](const Kernels& kernels) {
      Kernels::Pack* const kernel = pack_kernel(kernels, type, width_);
      each_shape([&](std::size_t n, const Layout& layout) {
        const Ahead::Way ask = kWays[n % std::size(kWays)];
        report_.check(stage_.pack(kernel, rows.data(), n, row_bytes, format_, ask, layout) == n, "all rows are packed");
        report_.check_bytes(stage_.output(0).data(), expected.data(), n * code_bytes, "the codes");
      });
      // Rows that are left to others stop it.
      for (std::size_t kind = 0; kind < kUnusual; ++kind) {
        for (const std::size_t bad : {std::size_t{0}, std::size_t{4}, std::size_t{8}}) {
          Bytes some(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(9 * row_bytes));
          if (!write_unusual(type, kind, format_.dim, some.data() + bad * row_bytes)) continue;
          const Layout& layout = kLayouts[(kind + bad) % std::size(kLayouts)];
          report_.now.rows = 9;
          report_.now.layout = layout;
          const std::size_t stopped = stage_.pack(kernel, some.data(), 9, row_bytes, format_, Ahead::kSpread, layout);
          report_.check(stopped == bad, "packing stops at an unusual row");
          report_.check_bytes(stage_.output(0).data(), expected.data(), bad * code_bytes, "the codes before it");
          report_.check(stage_.intact(), "nothing is written beside the output");
        }
      }
    });
  }

  void unpack() {
    stage_.unpack(sets_.scalar->unpack[width_], codes_.data(), most_, format_, {});
    const auto expected = copy_of<float>(stage_.output(0));
    check_golden("unpack", digest_of(expected));
    each_set("unpack", [&](const Kernels& kernels) {
      each_shape([&](std::size_t n, const Layout& layout) {
        stage_.unpack(kernels.unpack[width_], codes_.data(), n, format_, layout);
        report_.check_bytes(stage_.output(0).data(), expected.data(), n * format_.dim * sizeof(float), "the values");
      });
    });
  }

  void expand() {
    Random random("levels" + suffix_);
    std::uint8_t levels[16];
    for (auto& level : levels) level = static_cast<std::uint8_t>(random.below(256));
    stage_.expand(sets_.scalar->expand, codes_.data(), most_, format_.row_bytes(), levels, {});
    const Bytes expected = copy_of<std::uint8_t>(stage_.output(0));
    check_golden("expand", digest_of(expected));
    each_set("expand", [&](const Kernels& kernels) {
      each_shape([&](std::size_t n, const Layout& layout) {
        stage_.expand(kernels.expand, codes_.data(), n, format_.row_bytes(), levels, layout);
        report_.check_bytes(stage_.output(0).data(), expected.data(), n * format_.dim, "the levels");
      });
    });
  }

  void dots() {
    const auto queries = integer_queries("queries" + suffix_, kQueries, width_, format_.row_bytes());
    const std::size_t entries = queries.size() / kQueries;
    const auto expected = dots_of(queries, kQueries);
    std::uint64_t digest = kFnvStart;
    std::size_t stride = 0;
    for (const auto& of_query : expected) digest = digest_of(of_query, digest);
    check_golden("dot", digest);

    each_set("dot_rows", [&](const Kernels& kernels) {
      std::size_t turn = 0;
      each_shape([&](std::size_t n, const Layout& layout) {
        ++turn;
        const std::size_t first = turn % kQueries, count = 1 + turn % std::min<std::size_t>(6, kQueries - first);
        report_.now.queries = count;
        const bool kept =
            stage_.dot_rows(kernels.dot_rows[width_], codes_.data(), n, format_, queries.data() + first * entries,
                            count, turn % 3 * 5, kWays[turn % std::size(kWays)], stride, layout);
        report_.check(kept, "nothing is written between the dots");
        for (std::size_t q = 0; q < count; ++q) {
          const std::uint8_t* const dots = stage_.output(0).data() + q * stride * sizeof(std::int32_t);
          report_.check_bytes(dots, expected[first + q].data(), n * sizeof(std::int32_t), "the dots");
        }
        report_.now.queries = 0;
      });
    });
    each_set("dot_picked", [&](const Kernels& kernels) {
      std::size_t q = 0;
      Random random("picked" + suffix_);
      each_shape([&](std::size_t n, const Layout& layout) {
        q = (q + 1) % kQueries;
        const std::size_t rows = n == 0 ? 0 : most_ - random.below(3);  // picked from so many
        std::vector<std::uint32_t> picked(n);
        std::vector<std::int32_t> dots(n);
        for (std::size_t i = 0; i < n; ++i) {
          picked[i] = static_cast<std::uint32_t>(i == n / 2 ? rows - 1 : random.below(rows));
          dots[i] = expected[q][picked[i]];
        }
        stage_.dot_picked(kernels.dot_picked[width_], codes_.data(), rows, format_, queries.data() + q * entries,
                          picked.data(), n, layout);
        report_.check_bytes(stage_.output(0).data(), dots.data(), n * sizeof(std::int32_t), "the dots");
      });
    });
    for (const int part : {1, 3, 20}) {  // of small entries, more products fit into 16 bits
      auto more = integer_queries("tile queries" + suffix_, kMostTileQueries, width_, format_.row_bytes());
      for (std::int8_t& entry : more) entry = static_cast<std::int8_t>(entry / part);
      const auto of_more = dots_of(more, kMostTileQueries);
      each_set("tiles", [&](const Kernels& kernels) { tiles(*kernels.tiles, more, of_more, thorough_ && part == 1); });
    }
  }

  // Of each query with all rows, as scalar has them.
  std::vector<std::vector<std::int32_t>> dots_of(const std::vector<std::int8_t>& queries, std::size_t n) {
    std::size_t stride = 0;
    stage_.dot_rows(sets_.scalar->dot_rows[width_], codes_.data(), most_, format_, queries.data(), n, 0,
                    Ahead::kNothing, stride, {});
    const auto all = copy_of<std::int32_t>(stage_.output(0));
    std::vector<std::vector<std::int32_t>> dots;
    for (std::size_t q = 0; q < n; ++q) {
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(q * stride);
      dots.emplace_back(first, first + static_cast<std::ptrdiff_t>(most_));
    }
    return dots;
  }

  void tiles(const TileKernels& tiles, const std::vector<std::int8_t>& queries,
             const std::vector<std::vector<std::int32_t>>& expected, bool thorough) {
    std::size_t turn = 0;
    for (const std::size_t n_queries : kTileQueries) {
      for (const std::size_t n : kRows) {
        ++turn;
        if (n == 0 || n > most_ || (!thorough && turn % 5 != 0)) continue;
        const Layout& layout = kLayouts[turn % std::size(kLayouts)];
        report_.now.queries = n_queries;
        report_.now.rows = n;
        report_.now.layout = layout;
        std::array<std::int32_t, kMostTileQueries> least{};
        for (std::size_t q = 0; q < n_queries; ++q) {
          const std::int32_t highest =
              *std::max_element(expected[q].begin(), expected[q].begin() + static_cast<long>(n));
          const std::int32_t choices[] = {std::numeric_limits<std::int32_t>::min(), highest, highest + 1,
                                          std::numeric_limits<std::int32_t>::max()};
          least[q] = choices[(turn + q) % std::size(choices)];
        }
        std::size_t stride = 0;
        const bool kept = stage_.tile(tiles, width_, codes_.data(), n, format_.row_bytes(), queries.data(), n_queries,
                                      least.data(), turn % 3 * 5, stride, layout);
        report_.check(kept && stage_.intact(), "nothing is written beside the tile and the dots");
        bool same = true, right = true;
        for (std::size_t q = 0; q < n_queries; ++q) {
          const std::uint8_t* const dots = stage_.output(0).data() + q * stride * sizeof(std::int32_t);
          same &= std::memcmp(dots, expected[q].data(), n * sizeof(std::int32_t)) == 0;
          const std::uint8_t reached = stage_.output(1).data()[q];
          const bool any = std::any_of(expected[q].begin(), expected[q].begin() + static_cast<long>(n),
                                       [&](std::int32_t dot) { return dot >= least[q]; });
          right &= reached == 1 || (reached == 0 && !any);
        }
        report_.check(same, "the dots of a tile");
        report_.check(right, "whether queries are reached");
      }
    }
  }

  void floats() {
    const auto queries = float_queries("float queries" + suffix_, kFloatQueries, width_, format_.row_bytes());
    const std::size_t entries = queries.size() / kFloatQueries;
    std::vector<std::vector<float>> expected;
    std::uint64_t digest = kFnvStart;
    for (std::size_t q = 0; q < kFloatQueries; ++q) {
      stage_.float_rows(sets_.scalar->float_rows[width_], codes_.data(), most_, format_, queries.data() + q * entries,
                        {});
      expected.push_back(copy_of<float>(stage_.output(0)));
      digest = digest_of(expected.back(), digest);
    }
    check_golden("float_rows", digest);
    each_set("float_rows", [&](const Kernels& kernels) {
      std::size_t q = 0;
      each_shape([&](std::size_t n, const Layout& layout) {
        q = (q + 1) % kFloatQueries;
        stage_.float_rows(kernels.float_rows[width_], codes_.data(), n, format_, queries.data() + q * entries, layout);
        report_.check_bytes(stage_.output(0).data(), expected[q].data(), n * sizeof(float), "the scores");
      });
    });
  }

  void sketch() {
    const SketchShape shape(format_.dim);
    Random random("centre" + suffix_);
    std::vector<float> centre(format_.dim);
    for (float& value : centre) value = static_cast<float>(random.below(256)) / 16 - 8;
    const std::size_t all = std::min(most_, kSketchRows);
    stage_.sketch_rows(sets_.scalar->sketch_rows[width_], codes_.data(), all, format_, centre.data(), {});
    const auto bits = copy_of<std::uint8_t>(stage_.output(0));
    const auto squares = copy_of<float>(stage_.output(1)), sums = copy_of<float>(stage_.output(2));
    check_golden("sketch_rows", digest_of(sums, digest_of(squares, digest_of(bits))));
    each_set("sketch_rows", [&](const Kernels& kernels) {
      std::size_t turn = format_.dim;
      for (const std::size_t n : {1u, 2u, 15u, 16u, 17u, 31u, 33u, 63u, 64u}) {
        ++turn;
        if (n > all || (!thorough_ && n != 17 && n != 64)) continue;
        const Layout& layout = kLayouts[turn % std::size(kLayouts)];
        report_.now.rows = n;
        report_.now.layout = layout;
        Bytes some(bits);
        std::vector<float> some_squares(squares), some_sums(sums);
        for (std::size_t r = n; r < kSketchRows; ++r) {  // rows that there are not
          for (std::size_t j = 0; j < shape.bytes(); ++j) some[j * kSketchRows + r] = 0;
          some_squares[r] = some_sums[r] = 0;
        }
        stage_.sketch_rows(kernels.sketch_rows[width_], codes_.data(), n, format_, centre.data(), layout);
        report_.check(stage_.intact(), "nothing is written beside the outputs");
        report_.check_bytes(stage_.output(0).data(), some.data(), some.size(), "the bits");
        report_.check_bytes(stage_.output(1).data(), some_squares.data(), kSketchRows * sizeof(float), "the squares");
        report_.check_bytes(stage_.output(2).data(), some_sums.data(), kSketchRows * sizeof(float), "the sums");
      }
    });
  }

  const Sets& sets_;
  Report& report_;
  Golden& golden_;
  Stage& stage_;
  const Format format_;
  const Width width_;
  const bool thorough_;
  const std::size_t most_;  // rows
  const std::string suffix_;
  const Bytes codes_;
};

}  // namespace

void sweep_kernels(const Sets& sets, Report& report, Golden& golden, bool quick) {
  Stage stage;
  const auto sweep = [&](Width width, const auto& dims) {
    for (const std::size_t dim : dims) {
      FormatSweep(sets, report, golden, stage, format_of(width, dim), quick).run();
    }
  };
  if (quick) {
    sweep(kInt4, kQuick4);
    sweep(kInt8, kQuick8);
    sweep(kNormal4, kQuick4);
  } else {
    sweep(kInt4, kDims4);
    sweep(kInt8, kDims8);
    sweep(kNormal4, kDims4);
  }
}

}  // namespace frazil::native
