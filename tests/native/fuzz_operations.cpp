// Whole operations under the fuzzer: floats of any strides, searches, sketches whose bytes have been damaged.
#include <cmath>
#include <cstring>
#include <new>
#include <stdexcept>

#include "../../csrc/dispatch.h"
#include "../../csrc/ops/pack.h"
#include "../../csrc/ops/refine.h"
#include "../../csrc/ops/search.h"
#include "../../csrc/ops/sketch.h"
#include "fuzz.h"

namespace frazil::native {
namespace {

Side any_side(Decoder& decoder) { return decoder.coin() ? Side::kEnd : Side::kStart; }

const std::byte* copied(Guarded& where, const Bytes& bytes, Side side) {
  std::uint8_t* const at = where.place(bytes.size(), side);
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return reinterpret_cast<const std::byte*>(at);
}

// A matrix of `columns` columns, its rows and columns in any order in memory, the whole of it guarded.
FloatMatrix any_matrix(Decoder& decoder, FloatType type, std::size_t n, std::size_t columns, Guarded& where) {
  const auto size = static_cast<std::ptrdiff_t>(size_of(type)), rows = static_cast<std::ptrdiff_t>(n),
             across = static_cast<std::ptrdiff_t>(columns);
  const std::byte* data = copied(where, decoder.floats(type, n, columns), any_side(decoder));
  std::ptrdiff_t row_stride = across * size, column_stride = size;
  if (decoder.byte() % 4 == 0) {  // by columns
    row_stride = size;
    column_stride = rows * size;
  }
  if (n > 0 && decoder.byte() % 4 == 0) {
    data += (rows - 1) * row_stride;
    row_stride = -row_stride;
  }
  if (n > 0 && decoder.byte() % 8 == 0) {
    data += (across - 1) * column_stride;
    column_stride = -column_stride;
  }
  return {data, type, n, columns, row_stride, column_stride, false};
}

CodeMatrix any_codes(Decoder& decoder, const Format& format, std::size_t n, Guarded& where) {
  const auto row_bytes = format.row_bytes();
  const auto* const data =
      reinterpret_cast<const std::uint8_t*>(copied(where, decoder.bytes(n * row_bytes), any_side(decoder)));
  const auto stride = static_cast<std::ptrdiff_t>(row_bytes);
  if (n > 0 && decoder.byte() % 4 == 0) {
    return {data + (static_cast<std::ptrdiff_t>(n) - 1) * stride, n, row_bytes, -stride, false};
  }
  return {data, n, row_bytes, stride, false};
}

AllowedRows any_allowed(Decoder& decoder, std::size_t n, Bytes& mask) {
  const auto kind = decoder.byte() % 4;
  if (kind == 0) {
    std::vector<std::int64_t> list(n == 0 ? 0 : decoder.below(2 * n));
    for (auto& row : list) row = static_cast<std::int64_t>(decoder.below(n));
    return allowed_list(list, n);
  }
  if (kind == 1) {
    mask = decoder.bytes(n);
    for (auto& byte : mask) byte &= 1;
    return AllowedRows::mask(mask.data(), 1, n);
  }
  return AllowedRows::all(n);
}

// Runs fn for every set, that of `scalar` first, and gives what it has written, or the error's message.
template <class Fn>
std::string outcome(Fn&& fn) {
  try {
    fn();
    return "done";
  } catch (const std::invalid_argument& error) {
    return error.what();
  } catch (const std::bad_alloc&) {
    return "no memory";
  }
}

Bytes copy_of(const Guarded& output) { return Bytes(output.data(), output.data() + output.size()); }

}  // namespace

void Fuzzer::pack_operation(Decoder& decoder) {
  static constexpr FloatType kTypes[] = {FloatType::kHalf, FloatType::kBfloat16, FloatType::kSingle,
                                         FloatType::kDouble};
  const Format format = decoder.format();
  const FloatType type = kTypes[decoder.below(std::size(kTypes))];
  const std::size_t n = decoder.below(12), columns = format.dim + decoder.below(4);
  const FloatMatrix x = any_matrix(decoder, type, n, columns, input_);
  const Side side = any_side(decoder);
  const bool refine = decoder.coin(), by_metric = refine && format.dim <= 300 && decoder.coin();
  const auto matrix = metric_matrix(format.dim, format.dim);
  const Metric metric{matrix.data(), format.dim};
  shape(refine ? "refine operation" : "pack operation", format, n, 0, {.side = side});
  std::string expected;
  Bytes codes;
  const auto run = [&](const std::string& set) {
    dispatch::force(set);
    report_.now.set = set.c_str();
    std::uint8_t* const to = codes_.place(n * format.row_bytes(), side);
    return outcome([&] {
      if (refine) return pack_refined(format, x, "x", by_metric ? &metric : nullptr, 1, to);
      frazil::pack(format, x, "x", 1, to);
    });
  };
  expected = run("scalar");
  codes = copy_of(codes_);
  for (const Set& set : sets_.tested) {
    report_.check(run(set.name) == expected, "the same error, or none");
    if (expected == "done") report_.check_bytes(codes_.data(), codes.data(), codes.size(), "the same as scalar");
    report_.check(codes_.intact(), "nothing is written beside the codes");
  }
}

void Fuzzer::search(Decoder& decoder) {
  static constexpr int kQueryBits[] = {4, 8, 32};
  const Format format = decoder.format();
  const std::size_t n = decoder.below(200), n_queries = decoder.below(14), k = 1 + decoder.below(40);
  const int query_bits = kQueryBits[decoder.below(std::size(kQueryBits))];
  const unsigned threads = 1 + decoder.byte() % 3;
  const FloatMatrix x = any_matrix(decoder, FloatType::kSingle, n_queries, format.dim, input_);
  const CodeMatrix codes = any_codes(decoder, format, n, codes_);
  Bytes mask;
  const AllowedRows allowed = any_allowed(decoder, n, mask);
  const std::size_t columns = std::min(k, allowed.count());
  const bool by_sketch = decoder.coin();
  const double width = static_cast<double>(decoder.below(64)) / 8;
  shape(by_sketch ? "search by sketch" : "search", format, n, n_queries, {});
  const auto run = [&](const std::string& set) {
    dispatch::force(set);
    report_.now.set = set.c_str();
    float* const scores = scores_.place_of<float>(n_queries * columns, Side::kEnd);
    std::int64_t* const rows = rows_.place_of<std::int64_t>(n_queries * columns, Side::kEnd);
    return outcome([&] {
      if (!by_sketch) {
        return frazil::search(format, x, codes, columns, query_bits, allowed, threads, scores, rows);
      }
      frazil::build_sketch(format, codes, threads, sketch_.place(sketch_bytes(format, n), Side::kEnd));
      const Sketch sketch = read_sketch(sketch_.data(), sketch_.size());
      check_sketch(sketch, format, codes);
      search_by_sketch(format, x, codes, sketch, width, columns, query_bits, allowed, threads, scores, rows);
    });
  };
  const std::string expected = run("scalar");
  const Bytes scores = copy_of(scores_), rows = copy_of(rows_);
  for (const Set& set : sets_.tested) {
    report_.check(run(set.name) == expected, "the same error, or none");
    if (expected == "done") {
      report_.check_bytes(scores_.data(), scores.data(), scores.size(), "the same scores as scalar");
      report_.check_bytes(rows_.data(), rows.data(), rows.size(), "the same rows as scalar");
    }
    report_.check(scores_.intact() && rows_.intact(), "nothing is written beside the answers");
  }
}

// Whatever the bytes say: an error, or an answer whose rows exist, and nothing read or written out of bounds.
void Fuzzer::damaged_sketch(Decoder& decoder) {
  const Format format = decoder.format();
  const std::size_t n = decoder.below(200), n_queries = 1 + decoder.below(10), k = 1 + decoder.below(40);
  const CodeMatrix codes = any_codes(decoder, format, n, codes_);
  dispatch::force("scalar");
  Bytes bytes(sketch_bytes(format, n));
  frazil::build_sketch(format, codes, 1, bytes.data());
  const std::size_t first_block =
      bytes.size() - (n + kSketchRows - 1) / kSketchRows * SketchShape(format.dim).block_bytes();
  bool below_blocks = false;  // whether what queries are made ready with is damaged, too
  for (std::size_t i = decoder.below(12); i > 0; --i) {
    const std::size_t from = decoder.coin() ? std::min<std::size_t>(bytes.size(), 64) : bytes.size();
    const std::size_t at = decoder.word() % from;
    bytes[at] = decoder.coin() ? decoder.byte() : static_cast<std::uint8_t>(bytes[at] ^ 1u << decoder.byte() % 8);
    below_blocks |= at < first_block;
  }
  if (decoder.byte() % 4 == 0) {  // floats that no sketch holds
    const std::uint32_t odd[] = {0x7fc00000, 0x7f800000, 0xff800000,
                                 0x7f7fffff, 0xbf800000, static_cast<std::uint32_t>(decoder.word())};
    const std::size_t number = decoder.below(3 + format.dim), at = number < 3 ? 32 + 4 * number : 64 + 4 * (number - 3);
    std::memcpy(bytes.data() + at, &odd[decoder.below(std::size(odd))], sizeof odd[0]);
    below_blocks = true;
  }
  if (decoder.byte() % 8 == 0) bytes.resize(decoder.word() % (bytes.size() + 200));
  copied(sketch_, bytes, any_side(decoder));

  const FloatMatrix x = any_matrix(decoder, FloatType::kSingle, n_queries, format.dim, input_);
  const int query_bits = decoder.coin() ? 8 : 32;
  Bytes mask;
  const AllowedRows allowed = any_allowed(decoder, n, mask);
  const std::size_t columns = std::min(k, allowed.count());
  const unsigned threads = 1 + decoder.byte() % 2;
  shape("search by a damaged sketch", format, n, n_queries, {});
  const auto run = [&](const std::string& set) {
    dispatch::force(set);
    report_.now.set = set.c_str();
    float* const scores = scores_.place_of<float>(n_queries * columns, Side::kEnd);
    std::int64_t* const rows = rows_.place_of<std::int64_t>(n_queries * columns, Side::kEnd);
    const std::string how = outcome([&] {
      const Sketch sketch = read_sketch(sketch_.data(), sketch_.size());
      check_sketch(sketch, format, codes);
      search_by_sketch(format, x, codes, sketch, 3, columns, query_bits, allowed, threads, scores, rows);
    });
    bool exist = true;
    for (std::size_t i = 0; how == "done" && i < n_queries * columns; ++i) {
      exist &= rows[i] >= -1 && rows[i] < static_cast<std::int64_t>(n);
    }
    report_.check(exist, "rows that exist");
    report_.check(scores_.intact() && rows_.intact(), "nothing is written beside the answers");
    return how;
  };
  const std::string expected = run("scalar");
  const Bytes scores = copy_of(scores_), rows = copy_of(rows_);
  for (const Set& set : sets_.tested) {
    report_.check(run(set.name) == expected, "the same error, or none");
    if (expected == "done" && !below_blocks) {
      report_.check_bytes(scores_.data(), scores.data(), scores.size(), "the same scores as scalar");
      report_.check_bytes(rows_.data(), rows.data(), rows.size(), "the same rows as scalar");
    }
  }
}

}  // namespace frazil::native
