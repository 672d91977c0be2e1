#include "operations.h"

#include <array>
#include <cstring>
#include <stdexcept>

#include "../../csrc/dispatch.h"
#include "../../csrc/ops/pack.h"
#include "../../csrc/ops/refine.h"
#include "../../csrc/ops/score.h"
#include "../../csrc/ops/search.h"
#include "../../csrc/ops/sketch.h"
#include "sets.h"

namespace frazil::native {
namespace {

constexpr std::size_t kQueries = 9;                           // enough for tiles
constexpr std::size_t kCodeBytes = 300000, kMostRows = 5000;  // enough for several threads
constexpr std::size_t kExtraColumns = 3;                      // that are not kept
constexpr std::size_t kRefined = 120, kMetricDim = 258;       // more rows, or dimensions by a metric, take long
constexpr double kWidth = 3;                                  // of sketches' bounds
constexpr FloatType kTypes[] = {FloatType::kHalf, FloatType::kBfloat16, FloatType::kSingle, FloatType::kDouble};

std::uint64_t digest_of(const Guarded& output, std::uint64_t state = kFnvStart) {
  return fnv(output.data(), output.size(), state);
}

}  // namespace

Operations::Operations(const Format& format)
    : format_(format),
      n_(std::min(kCodeBytes / format.row_bytes(), kMostRows) + 700),
      suffix_(std::string(" ") + name_of(format.width) + " " + std::to_string(format.dim)),
      metric_(metric_matrix(format.dim, format.dim)),
      query_matrix_(matrix(FloatType::kSingle, kQueries, 1, "op queries", queries_)),
      code_matrix_{} {
  for (Guarded* const output : {&scores_, &rows_, &bytes_}) output->place(0, Side::kEnd);
  // Rows from the last one in memory to the first, a few bytes apart.
  const Bytes codes = code_rows("op codes" + suffix_, n_, format.row_bytes());
  const std::size_t stride = format.row_bytes() + 5;
  std::uint8_t* const last = codes_.place((n_ - 1) * stride + format.row_bytes(), Side::kEnd);
  for (std::size_t r = 0; r < n_; ++r) {
    std::memcpy(last + (n_ - 1 - r) * stride, codes.data() + r * format.row_bytes(), format.row_bytes());
  }
  code_matrix_ = {last + (n_ - 1) * stride, n_, format.row_bytes(), -static_cast<std::ptrdiff_t>(stride), false};
  frazil::build_sketch(format_, code_matrix_, 1, sketch_.place(sketch_bytes(format_, n_), Side::kEnd));

  const auto add = [&](const std::string& name, Operation operation) {
    all_.emplace_back("op " + name + suffix_, std::move(operation));
  };
  for (std::size_t i = 0; i < kMatrices; ++i) {
    const bool spread = i == std::size(kTypes);  // once more, not side by side
    const FloatType type = spread ? FloatType::kSingle : kTypes[i];
    const FloatMatrix x = matrix(type, n_, spread ? 2 : 1, "op rows", x_[i]);
    add(std::string(spread ? "pack spread " : "pack ") + name_of(type),
        [this, x](unsigned threads) { return pack(x, threads); });
    if (spread) continue;
    add(std::string("refine ") + name_of(type), [this, x](unsigned threads) { return refine(x, false, threads); });
    if (format_.dim > kMetricDim) continue;
    add(std::string("refine metric ") + name_of(type),
        [this, x](unsigned threads) { return refine(x, true, threads); });
  }
  add("unpack", [this](unsigned threads) { return unpack(threads); });
  for (const int bits : {4, 8, 32}) {
    const std::string by = " " + std::to_string(bits);
    add("score" + by, [this, bits](unsigned threads) { return score(bits, threads); });
    add("search" + by, [=, this](unsigned threads) { return search(bits, 10, Allow::kAll, false, threads); });
    add("search mask" + by, [=, this](unsigned threads) { return search(bits, 100, Allow::kMask, false, threads); });
    add("search list" + by, [=, this](unsigned threads) { return search(bits, 7, Allow::kList, false, threads); });
    add("search sketch" + by, [=, this](unsigned threads) { return search(bits, 10, Allow::kAll, true, threads); });
    add("search sketch mask" + by,
        [=, this](unsigned threads) { return search(bits, 20, Allow::kMask, true, threads); });
  }
  add("sketch", [this](unsigned threads) { return build_sketch(threads); });
}

// Rows of a few columns more than are kept, values `spread` times their size apart.
FloatMatrix Operations::matrix(FloatType type, std::size_t n, std::size_t spread, const std::string& name,
                               Guarded& where) {
  const std::size_t columns = format_.dim + kExtraColumns, size = size_of(type);
  Bytes values = float_matrix(name + " " + name_of(type) + suffix_, type, n, columns);
  for (std::size_t kind = 2; kind < kUnusual; ++kind) {  // those that are finite
    const std::size_t row = 11 * kind;
    if (row < n) write_unusual(type, kind, columns, values.data() + row * columns * size);
  }
  std::uint8_t* const at = where.place(((n * columns - 1) * spread + 1) * size, Side::kEnd);
  for (std::size_t i = 0; i < n * columns; ++i) std::memcpy(at + i * spread * size, values.data() + i * size, size);
  const auto step = static_cast<std::ptrdiff_t>(spread * size);
  return {reinterpret_cast<const std::byte*>(at),      type, n,    columns,
          step * static_cast<std::ptrdiff_t>(columns), step, false};
}

std::uint64_t Operations::pack(const FloatMatrix& x, unsigned threads) {
  frazil::pack(format_, x, "x", threads, bytes_.place(n_ * format_.row_bytes(), Side::kEnd));
  return digest_of(bytes_);
}

std::uint64_t Operations::refine(const FloatMatrix& x, bool by_metric, unsigned threads) {
  const Metric metric{metric_.data(), format_.dim};
  FloatMatrix some = x;
  some.rows = kRefined;
  pack_refined(format_, some, "x", by_metric ? &metric : nullptr, threads,
               bytes_.place(some.rows * format_.row_bytes(), Side::kEnd));
  return digest_of(bytes_);
}

std::uint64_t Operations::unpack(unsigned threads) {
  frazil::unpack(format_, code_matrix_, threads, scores_.place_of<float>(n_ * format_.dim, Side::kEnd));
  return digest_of(scores_);
}

std::uint64_t Operations::score(int query_bits, unsigned threads) {
  frazil::score(format_, query_matrix_, code_matrix_, query_bits, threads,
                scores_.place_of<float>(kQueries * n_, Side::kEnd));
  return digest_of(scores_);
}

std::uint64_t Operations::search(int query_bits, std::size_t k, Allow allow, bool by_sketch, unsigned threads) {
  Bytes mask(n_);
  std::vector<std::int64_t> list;
  for (std::size_t r = 0; r < n_; ++r) {
    mask[r] = r % 3 == 0 || r / 100 % 4 == 1;
    if (r % 17 == 5) list.push_back(static_cast<std::int64_t>(r));
  }
  const AllowedRows allowed = allow == Allow::kAll    ? AllowedRows::all(n_)
                              : allow == Allow::kMask ? AllowedRows::mask(mask.data(), 1, n_)
                                                      : allowed_list(list, n_);
  const std::size_t columns = std::min(k, allowed.count());
  float* const scores = scores_.place_of<float>(kQueries * columns, Side::kEnd);
  std::int64_t* const rows = rows_.place_of<std::int64_t>(kQueries * columns, Side::kEnd);
  if (by_sketch) {
    const Sketch sketch = read_sketch(sketch_.data(), sketch_.size());
    check_sketch(sketch, format_, code_matrix_);
    search_by_sketch(format_, query_matrix_, code_matrix_, sketch, kWidth, columns, query_bits, allowed, threads,
                     scores, rows);
  } else {
    frazil::search(format_, query_matrix_, code_matrix_, columns, query_bits, allowed, threads, scores, rows);
  }
  return digest_of(rows_, digest_of(scores_));
}

std::uint64_t Operations::build_sketch(unsigned threads) {
  frazil::build_sketch(format_, code_matrix_, threads, bytes_.place(sketch_bytes(format_, n_), Side::kEnd));
  return digest_of(bytes_);
}

bool Operations::names_bad_rows(unsigned threads) {
  const std::size_t n = 700, bad = n / 2;
  std::vector<float> values(n * format_.dim, 0.5f);
  for (const std::size_t row : {n - 1, bad}) {
    write_unusual(FloatType::kSingle, row == bad, format_.dim,
                  reinterpret_cast<std::uint8_t*>(values.data() + row * format_.dim));
  }
  const FloatMatrix x{reinterpret_cast<const std::byte*>(values.data()),        FloatType::kSingle, n,    format_.dim,
                      static_cast<std::ptrdiff_t>(format_.dim * sizeof(float)), sizeof(float),      false};
  try {
    frazil::pack(format_, x, "x", threads, bytes_.place(n * format_.row_bytes(), Side::kEnd));
  } catch (const std::invalid_argument& error) {
    return std::string(error.what()).find("x: row " + std::to_string(bad) + " ") == 0;
  }
  return false;
}

void run_operations(const Sets& sets, Report& report, Golden& golden, bool quick) {
  std::vector<Format> formats;
  for (const auto& [width, dim] :
       {std::pair(kInt4, 256), std::pair(kInt8, 31), std::pair(kInt4, 2), std::pair(kInt4, 258), std::pair(kInt4, 1000),
        std::pair(kInt8, 3), std::pair(kInt8, 256), std::pair(kInt8, 1023)}) {
    if (!quick || formats.size() < 2) formats.push_back(format_of(width, static_cast<std::size_t>(dim)));
  }
  formats.push_back(format_of(kNormal4, 256));
  if (!quick) formats.push_back(format_of(kNormal4, 30));
  for (const Format& format : formats) {
    dispatch::force("scalar");  // builds the sketch
    Operations operations(format);
    const auto run = [&](const std::string& set, unsigned threads) {
      dispatch::force(set);
      for (const auto& [name, operation] : operations.all()) {
        report.begin(set.c_str(), name.c_str());
        report.now.queries = threads;
        golden.check(report, name, operation(threads));
        report.check(operations.intact(), "nothing is written beside the outputs");
      }
      report.check(operations.names_bad_rows(threads), "the row that holds infinity is named");
    };
    run("scalar", 1);
    for (const Set& set : sets.tested) {
      for (const unsigned threads : {1u, 3u}) {
        if (!quick || threads > 1) run(set.name, threads);
      }
    }
  }
}

}  // namespace frazil::native
