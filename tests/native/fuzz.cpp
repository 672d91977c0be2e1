#include "fuzz.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "../../csrc/floats.h"

namespace frazil::native {

// ---------------------------------------------------------------- decoding

std::uint8_t Decoder::byte() {
  if (left_ == 0) return static_cast<std::uint8_t>(more_.next() >> 56);
  --left_;
  return *next_++;
}

std::uint64_t Decoder::word() {
  std::uint64_t word = 0;
  fill(&word, sizeof word);
  return word;
}

void Decoder::fill(void* to, std::size_t size) {
  auto* at = static_cast<std::uint8_t*>(to);
  const std::size_t here = std::min(size, left_);
  if (here > 0) std::memcpy(at, next_, here);
  next_ += here;
  left_ -= here;
  for (std::size_t i = here; i < size; i += sizeof(std::uint64_t)) {
    const std::uint64_t more = more_.next();
    std::memcpy(at + i, &more, std::min(size - i, sizeof more));
  }
}

Format Decoder::format() {
  Width width = coin() ? kInt8 : kInt4;
  const std::size_t most = byte() % 16 == 0 ? kMaxDim : 300;
  std::size_t dim = kMinDim + below(most - kMinDim + 1);
  if (width == kInt4) dim = dim / 2 * 2;
  if (width == kInt4 && byte() % 4 == 0) width = kNormal4;
  // Any limit: from 2^-19 to less than 2^19, which is within 1e-6 … 1e6.
  double limit = 0;
  std::uint8_t bits[sizeof limit];
  write_float(FloatType::kDouble, static_cast<int>(below(coin() ? 38 : 4)) - (coin() ? 19 : 3), word() >> 1, bits);
  std::memcpy(&limit, bits, sizeof limit);
  return {dim, width, std::clamp(limit, kMinLimit, kMaxLimit)};
}

Layout Decoder::layout() {
  Layout layout;
  layout.gap = coin() ? 0 : byte();
  layout.reversed = coin();
  layout.side = coin() ? Side::kEnd : Side::kStart;
  layout.skew = byte() % 8;
  return layout;
}

float Decoder::number(int least, int count) {
  std::uint8_t bits[sizeof(float)];
  const int exponent = least + static_cast<int>(below(static_cast<std::size_t>(count)));
  write_float(FloatType::kSingle, exponent, word(), bits);
  float number;
  std::memcpy(&number, bits, sizeof number);
  return number;
}

Bytes Decoder::floats(FloatType type, std::size_t n, std::size_t columns) {
  const std::size_t size = size_of(type);
  const std::uint8_t kind = byte();
  if (kind % 8 == 0) return bytes(n * columns * size);
  const int least = static_cast<int>(below(type == FloatType::kHalf ? 20 : 120)) - (type == FloatType::kHalf ? 15 : 70);
  const std::size_t count = 1 + below(12);
  Bytes values(n * columns * size);
  for (std::size_t i = 0; i < n * columns; ++i) {
    const std::uint64_t bits = word();
    const bool zero = kind % 8 == 1 && bits >> 60 == 0;
    write_float(type, zero ? kSubnormal : least + static_cast<int>((bits >> 53) % count), zero ? 0 : bits,
                values.data() + i * size);
  }
  if (n > 0 && kind % 8 == 2) write_unusual(type, below(kUnusual), columns, values.data() + below(n) * columns * size);
  return values;
}

Bytes Decoder::bytes(std::size_t size) {
  Bytes bytes(size);
  const std::uint8_t kind = byte();
  if (kind % 16 == 0) {
    std::fill(bytes.begin(), bytes.end(), kind & 16 ? std::uint8_t{0xff} : std::uint8_t{0});
  } else if (size > 0) {
    fill(bytes.data(), size);
  }
  return bytes;
}

std::vector<std::int8_t> Decoder::integer_queries(std::size_t n, const Format& format) {
  const std::size_t row_bytes = format.row_bytes(), stride = planes(format.width) * plane_stride(row_bytes);
  std::vector<std::int8_t> queries(n * stride);
  for (std::size_t q = 0; q < n; ++q) {
    const Bytes values = bytes(format.dim);
    const bool extreme = byte() % 8 == 0;
    for (std::size_t i = 0; i < format.dim; ++i) {
      const int value =
          extreme ? (values[i] & 1 ? 127 : -127) : std::max<int>(static_cast<std::int8_t>(values[i]), -127);
      queries[q * stride + plane_position(format.width, row_bytes, i)] = static_cast<std::int8_t>(value);
    }
  }
  return queries;
}

// ---------------------------------------------------------------- kernels

void Fuzzer::shape(const char* operation, const Format& format, std::size_t rows, std::size_t queries,
                   const Layout& layout) {
  const auto iteration = report_.now.iteration;
  report_.begin("scalar", operation);
  report_.now.width = name_of(format.width);
  report_.now.dim = format.dim;
  report_.now.rows = rows;
  report_.now.queries = queries;
  report_.now.layout = layout;
  report_.now.iteration = iteration;
}

template <class Fn, class Used>
void Fuzzer::compare(std::size_t outputs, Fn&& fn, Used&& used) {
  report_.now.set = "scalar";
  const auto number = fn(*sets_.scalar);
  std::vector<Bytes> expected;
  for (std::size_t i = 0; i < outputs; ++i) {
    const std::uint8_t* const data = stage_.output(i).data();
    expected.emplace_back(data, data + used(i, stage_.output(i).size()));
  }
  report_.check(stage_.intact(), "nothing is written beside the outputs");
  for (const Set& set : sets_.tested) {
    if (set.kernels == sets_.scalar) continue;
    report_.now.set = set.name.c_str();
    report_.check(fn(*set.kernels) == number, "how many");
    for (std::size_t i = 0; i < outputs; ++i) {
      report_.check_bytes(stage_.output(i).data(), expected[i].data(), expected[i].size(), "the same as scalar");
    }
    report_.check(stage_.intact(), "nothing is written beside the outputs");
  }
}

template <class Fn>
void Fuzzer::compare(std::size_t outputs, Fn&& fn) {
  compare(
      outputs,
      [&](const Kernels& kernels) {
        fn(kernels);
        return 0;
      },
      [](std::size_t, std::size_t size) { return size; });
}

void Fuzzer::pack(Decoder& decoder, FloatType type) {
  const Format format = decoder.format().expanded();
  const Layout layout = decoder.layout();
  const std::size_t n = decoder.below(20), row_bytes = format.dim * size_of(type);
  const Bytes rows = decoder.floats(type, n, format.dim);
  const Ahead::Way ask = kWays[n % std::size(kWays)];
  const std::string name = std::string("pack_") + name_of(type);
  shape(name.c_str(), format, n, 0, layout);
  std::size_t packed = 0;
  compare(
      1,
      [&](const Kernels& kernels) {
        Kernels::Pack* const kernel = type == FloatType::kHalf       ? kernels.pack_half[format.width]
                                      : type == FloatType::kBfloat16 ? kernels.pack_bfloat16[format.width]
                                      : type == FloatType::kSingle   ? kernels.pack_single[format.width]
                                                                     : kernels.pack_double[format.width];
        return packed = stage_.pack(kernel, rows.data(), n, row_bytes, format, ask, layout);
      },
      [&](std::size_t, std::size_t) { return packed * format.row_bytes(); });
}

void Fuzzer::expand(Decoder& decoder) {
  Format format = decoder.format();
  if (format.width == kInt8) format = {format.dim / 2 * 2, kInt4, format.limit};
  const Layout layout = decoder.layout();
  const std::size_t n = decoder.below(20);
  const Bytes rows = decoder.bytes(n * format.row_bytes()), levels = decoder.bytes(16);
  shape("expand", format, n, 0, layout);
  compare(1, [&](const Kernels& kernels) {
    stage_.expand(kernels.expand, rows.data(), n, format.row_bytes(), levels.data(), layout);
  });
}

void Fuzzer::unpack(Decoder& decoder) {
  const Format format = decoder.format().expanded();
  const Layout layout = decoder.layout();
  const std::size_t n = decoder.below(20);
  const Bytes rows = decoder.bytes(n * format.row_bytes());
  shape("unpack", format, n, 0, layout);
  compare(1,
          [&](const Kernels& kernels) { stage_.unpack(kernels.unpack[format.width], rows.data(), n, format, layout); });
}

void Fuzzer::dot(Decoder& decoder) {
  const Format format = decoder.format();
  const Layout layout = decoder.layout();
  const std::size_t n = decoder.below(70);
  const Bytes rows = decoder.bytes(n * format.row_bytes());
  const std::size_t n_queries = 1 + decoder.below(6), beside = decoder.below(20);
  const auto way = kWays[decoder.below(std::size(kWays))];
  const auto queries = decoder.integer_queries(n_queries, format);
  shape("dot_rows", format, n, n_queries, layout);
  compare(1, [&](const Kernels& kernels) {
    std::size_t stride = 0;
    const bool kept = stage_.dot_rows(kernels.dot_rows[format.width], rows.data(), n, format, queries.data(), n_queries,
                                      beside, way, stride, layout);
    report_.check(kept, "nothing is written between the dots");
  });
  std::vector<std::uint32_t> picked(n == 0 ? 0 : decoder.below(70));
  for (auto& row : picked) row = static_cast<std::uint32_t>(decoder.below(n));
  shape("dot_picked", format, n, picked.size(), layout);
  compare(1, [&](const Kernels& kernels) {
    stage_.dot_picked(kernels.dot_picked[format.width], rows.data(), n, format, queries.data(), picked.data(),
                      picked.size(), layout);
  });
}

// What is compared are the dots of rows that there are: by dot_rows of `scalar`.
void Fuzzer::tile(Decoder& decoder) {
  const Format format = decoder.format();
  const Layout layout = decoder.layout();
  const std::size_t n = 1 + decoder.below(70), n_queries = 1 + decoder.below(50), beside = decoder.below(20);
  const Bytes rows = decoder.bytes(n * format.row_bytes());
  const auto queries = decoder.integer_queries(n_queries, format);
  shape("tiles", format, n, n_queries, layout);
  std::vector<std::int32_t> dots, least;
  std::size_t dots_stride = 0;
  stage_.dot_rows(sets_.scalar->dot_rows[format.width], rows.data(), n, format, queries.data(), n_queries, 0,
                  Ahead::kNothing, dots_stride, {});
  const auto* const all = reinterpret_cast<const std::int32_t*>(stage_.output(0).data());
  dots.assign(all, all + n_queries * n);
  for (std::size_t q = 0; q < n_queries; ++q) {
    least.push_back(decoder.coin() ? dots[q * n + decoder.below(n)] : static_cast<std::int32_t>(decoder.word()));
  }
  for (const Set& set : sets_.tested) {
    report_.now.set = set.name.c_str();
    std::size_t stride = 0;
    const bool kept = stage_.tile(*set.kernels->tiles, format.width, rows.data(), n, format.row_bytes(), queries.data(),
                                  n_queries, least.data(), beside, stride, layout);
    report_.check(kept && stage_.intact(), "nothing is written beside the tile and the dots");
    for (std::size_t q = 0; q < n_queries; ++q) {
      const std::int32_t* const of = dots.data() + q * n;
      report_.check_bytes(stage_.output(0).data() + q * stride * sizeof *of, of, n * sizeof *of, "the dots of a tile");
      const std::uint8_t reached = stage_.output(1).data()[q];
      report_.check(reached == 1 || (reached == 0 && *std::max_element(of, of + n) < least[q]), "who is reached");
    }
  }
}

void Fuzzer::float_rows(Decoder& decoder) {
  const Format format = decoder.format().expanded();
  const Layout layout = decoder.layout();
  const std::size_t n = decoder.below(20), row_bytes = format.row_bytes();
  const Bytes rows = decoder.bytes(n * row_bytes);
  std::vector<float> query(planes(format.width) * plane_stride(row_bytes));
  const int least = -static_cast<int>(decoder.below(150)) - 1;
  for (std::size_t i = 0; i < format.dim; ++i)
    query[plane_position(format.width, row_bytes, i)] = decoder.number(least, 2);
  shape("float_rows", format, n, 1, layout);
  compare(1, [&](const Kernels& kernels) {
    stage_.float_rows(kernels.float_rows[format.width], rows.data(), n, format, query.data(), layout);
  });
}

void Fuzzer::select(Decoder& decoder) {
  std::vector<std::int32_t> dots(decoder.below(300));
  const std::size_t shift = decoder.below(32);
  for (auto& dot : dots) dot = static_cast<std::int32_t>(decoder.word()) >> shift;
  const auto any = static_cast<std::int32_t>(decoder.word());
  const std::int32_t threshold = dots.empty() || decoder.coin() ? any >> shift : dots[decoder.below(dots.size())];
  const Side side = decoder.coin() ? Side::kEnd : Side::kStart;
  shape("select", {}, dots.size(), 0, {.side = side});
  std::size_t count = 0;
  compare(
      1,
      [&](const Kernels& kernels) {
        return count = stage_.select(kernels.select, dots.data(), dots.size(), threshold, side);
      },
      [&](std::size_t, std::size_t) { return count * sizeof(std::uint32_t); });
}

void Fuzzer::sketch_rows(Decoder& decoder) {
  const Format format = decoder.format().expanded();
  const Layout layout = decoder.layout();
  const std::size_t n = 1 + decoder.below(kSketchRows);
  const Bytes rows = decoder.bytes(n * format.row_bytes());
  std::vector<float> centre(format.dim);
  const int least = static_cast<int>(decoder.below(30)) - 25;
  for (float& value : centre) value = decoder.number(least, 4);
  shape("sketch_rows", format, n, 0, layout);
  compare(3, [&](const Kernels& kernels) {
    stage_.sketch_rows(kernels.sketch_rows[format.width], rows.data(), n, format, centre.data(), layout);
  });
}

void Fuzzer::sketch_select(Decoder& decoder) {
  const Format format = decoder.format();
  const SketchShape shape_of(format.dim);
  const std::size_t blocks = decoder.below(5), n = decoder.below(Stage::kMostQueries + 1);
  const Side side = decoder.coin() ? Side::kEnd : Side::kStart;
  Bytes data = decoder.bytes(blocks * shape_of.block_bytes());
  Bytes tables = decoder.bytes(n * shape_of.tables_bytes());
  for (auto& entry : tables) entry %= kTableMost + 1;
  std::vector<SketchQuery> queries;
  std::vector<float> least;
  for (std::size_t q = 0; q < n; ++q) {
    const float slope = std::fabs(decoder.number(-20, 20));
    const auto middle = static_cast<float>(shape_of.bits / 4 * (kTableMost / 2));
    queries.push_back({tables.data() + q * shape_of.tables_bytes(), slope, -slope * middle,
                       std::fabs(decoder.number(-3, 3)), std::fabs(decoder.number(-20, 20)), decoder.number(-20, 20)});
    float any = float_of_bits(static_cast<std::uint32_t>(decoder.word()));
    if (any != any) any = -std::numeric_limits<float>::infinity();
    least.push_back(decoder.coin() ? queries.back().base : any);
  }
  shape("sketch_select", format, blocks * kSketchRows, n, {.side = side});
  std::size_t counts[Stage::kMostQueries] = {};
  compare(
      2 * n,
      [&](const Kernels& kernels) {
        stage_.sketch_select(kernels.sketch_select, data.data(), blocks, shape_of, queries.data(), n, least.data(),
                             counts, side);
        return std::vector<std::size_t>(counts, counts + n);
      },
      [&](std::size_t i, std::size_t) { return counts[i / 2] * sizeof(std::uint32_t); });
}

void Fuzzer::one(const std::uint8_t* data, std::size_t size) {
  Decoder decoder(data, size);
  switch (decoder.byte() % 16) {
    case 0:
      return pack(decoder, FloatType::kHalf);
    case 1:
      return pack(decoder, FloatType::kBfloat16);
    case 2:
    case 3:
      return pack(decoder, FloatType::kSingle);
    case 4:
      return pack(decoder, FloatType::kDouble);
    case 5:
      return decoder.coin() ? unpack(decoder) : expand(decoder);
    case 6:
    case 7:
      return dot(decoder);
    case 8:
      return tile(decoder);
    case 9:
      return float_rows(decoder);
    case 10:
      return select(decoder);
    case 11:
      return sketch_rows(decoder);
    case 12:
      return sketch_select(decoder);
    case 13:
      return pack_operation(decoder);
    case 14:
      return search(decoder);
    default:
      return damaged_sketch(decoder);
  }
}

std::uint64_t Fuzzer::loop(double seconds, std::uint64_t seed) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  std::uint64_t tests = 0;
  do {
    report_.now.iteration = seed + tests;
    Random random(seed + tests);
    Bytes data(64 + random.below(256));
    for (auto& byte : data) byte = static_cast<std::uint8_t>(random.next() >> 56);
    one(data.data(), data.size());
    ++tests;
  } while (Clock::now() < end);
  return tests;
}

}  // namespace frazil::native
