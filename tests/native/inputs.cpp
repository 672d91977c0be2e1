#include "inputs.h"

#include <algorithm>
#include <cstring>

#include "../../csrc/floats.h"

namespace frazil::native {
namespace {

// What a floating-point type is made of.
struct Parts {
  int exponent_bits, fraction_bits;
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
};

Parts parts_of(FloatType type) {
  switch (type) {
    case FloatType::kHalf:
      return {5, 10};
    case FloatType::kBfloat16:
      return {8, 7};
    case FloatType::kSingle:
      return {8, 23};
    case FloatType::kDouble:
      break;
  }
  return {11, 52};
}

void store(FloatType type, std::uint64_t bits, std::uint8_t* to) {
  for (std::size_t i = 0; i < size_of(type); ++i) to[i] = static_cast<std::uint8_t>(bits >> (8 * i));  // little-endian
}

std::uint64_t float_bits(FloatType type, int exponent, std::uint64_t word) {
  const Parts parts = parts_of(type);
  const int field = std::clamp(exponent + parts.bias(), 0, (1 << parts.exponent_bits) - 2);
  const std::uint64_t fraction = word & ((std::uint64_t{1} << parts.fraction_bits) - 1);
  return (word >> 63) << (parts.exponent_bits + parts.fraction_bits) |
         static_cast<std::uint64_t>(field) << parts.fraction_bits | fraction;
}

// An exponent from `least` on, one of `count`.
int exponent_from(std::uint64_t word, int least, int count) {
  return least + static_cast<int>(static_cast<int>(word >> 53 & 0x3ff) % count);
}

}  // namespace

std::uint64_t fnv(const void* data, std::size_t size, std::uint64_t state) {
  const auto* const bytes = static_cast<const std::uint8_t*>(data);
  for (std::size_t i = 0; i < size; ++i) state = (state ^ bytes[i]) * 0x100000001b3u;
  return state;
}

const char* name_of(FloatType type) {
  static constexpr const char* kNames[] = {"half", "bfloat16", "single", "double"};
  return kNames[static_cast<int>(type)];
}
const char* name_of(Width width) {
  static constexpr const char* kNames[] = {"int4", "int8", "normal"};
  return kNames[width];
}
std::size_t size_of(FloatType type) {
  static constexpr std::size_t kSizes[] = {2, 2, 4, 8};
  return kSizes[static_cast<int>(type)];
}

Format format_of(Width width, std::size_t dim) {
  std::size_t root = 1;
  while (root * root < dim) ++root;
  return {dim, width, std::min(0.875, 3.0 / static_cast<double>(root))};
}

void write_float(FloatType type, int exponent, std::uint64_t word, std::uint8_t* to) {
  store(type, float_bits(type, exponent, word), to);
}

Bytes float_matrix(const std::string& name, FloatType type, std::size_t n, std::size_t columns) {
  Random random(name);
  const std::size_t size = size_of(type);
  Bytes rows(n * columns * size);
  const int far = type == FloatType::kHalf ? 6 : 40;  // exponents whose squares' sums are in range
  for (std::size_t r = 0; r < n; ++r) {
    const std::size_t kind = r % 8;
    const std::size_t spike = random.below(columns);
    for (std::size_t i = 0; i < columns; ++i) {
      const std::uint64_t word = random.next();
      int exponent = exponent_from(word, -3, 4);  // kinds 0, 1, 2: usual values
      if (kind == 3) exponent = exponent_from(word, -far, 2 * far);
      if (kind == 4) exponent = i == spike ? 2 : exponent_from(word, -9, 4);
      if (kind == 5) exponent = i == spike || i == 0 ? 0 : kSubnormal;
      if (kind == 6) exponent = exponent_from(word, far - 2, 3);
      if (kind == 7) exponent = exponent_from(word, -far, 3);
      std::uint64_t bits = float_bits(type, exponent, word);
      if (kind == 2) {  // 0, 1, 2 or 3, whose codes are often ties
        const std::uint64_t top_of_fraction = std::uint64_t{1} << (parts_of(type).fraction_bits - 1);
        const std::uint64_t sign = word & std::uint64_t{1} << 63;
        const auto whole = i == spike ? 3 : word >> 53 & 3;  // never a row of zeros
        bits = whole == 0   ? float_bits(type, kSubnormal, sign)
               : whole == 3 ? float_bits(type, 1, sign | top_of_fraction)
                            : float_bits(type, static_cast<int>(whole) - 1, sign);
      }
      store(type, bits, rows.data() + (r * columns + i) * size);
    }
  }
  return rows;
}

bool write_unusual(FloatType type, std::size_t kind, std::size_t columns, std::uint8_t* row) {
  const Parts parts = parts_of(type);
  const std::uint64_t infinity = ((std::uint64_t{1} << parts.exponent_bits) - 1) << parts.fraction_bits;
  const std::size_t size = size_of(type);
  if (kind < 2) {  // one value alone, the last
    store(type, kind == 0 ? infinity | 1u << 5 : infinity, row + (columns - 1) * size);
    return true;
  }
  if (kind > 2 && type == FloatType::kHalf) return false;  // all of its values are in range
  static constexpr int kExponents[] = {0, 0, kSubnormal, 90, -90};
  for (std::size_t i = 0; i < columns; ++i) {
    store(type, float_bits(type, kExponents[kind], std::uint64_t{i & 1} << 63), row + i * size);
  }
  return true;
}

Bytes code_rows(const std::string& name, std::size_t n, std::size_t row_bytes) {
  Random random(name);
  Bytes rows(n * row_bytes);
  for (std::size_t r = 0; r < n; ++r) {
    for (std::size_t j = 0; j < row_bytes; ++j) {
      auto byte = static_cast<std::uint8_t>(random.next() >> 56);
      if (r % 8 == 3) byte = 0xff;
      if (r % 8 == 5) byte = 0;
      if (r % 8 == 6) byte = j % 2 == 0 ? 0xf0 : 0x0f;
      rows[r * row_bytes + j] = byte;
    }
  }
  return rows;
}

std::vector<std::int8_t> integer_queries(const std::string& name, std::size_t n, Width width, std::size_t row_bytes) {
  Random random(name);
  const std::size_t stride = planes(width) * plane_stride(row_bytes), dim = planes(width) * row_bytes;
  std::vector<std::int8_t> queries(n * stride);
  for (std::size_t q = 0; q < n; ++q) {
    for (std::size_t i = 0; i < dim; ++i) {
      int value = static_cast<int>(random.next() >> 32) % 128;  // -127 … 127: int's remainder has its sign
      if (q % 8 == 1) value = 127;
      if (q % 8 == 2) value = -127;
      if (q % 8 == 3) value = i % 2 == 0 ? 127 : -127;
      if (q % 8 == 4) value = 0;
      queries[q * stride + plane_position(width, row_bytes, i)] = static_cast<std::int8_t>(value);
    }
  }
  return queries;
}

std::vector<float> float_queries(const std::string& name, std::size_t n, Width width, std::size_t row_bytes) {
  Random random(name);
  const std::size_t stride = planes(width) * plane_stride(row_bytes), dim = planes(width) * row_bytes;
  std::vector<float> queries(n * stride);
  for (std::size_t q = 0; q < n; ++q) {
    for (std::size_t i = 0; i < dim; ++i) {
      const std::uint64_t word = random.next();
      int exponent = exponent_from(word, -7, 7);
      if (q % 4 == 2) exponent = kSubnormal;
      if (q % 4 == 3) exponent = exponent_from(word, -100, 100);
      auto bits = static_cast<std::uint32_t>(float_bits(FloatType::kSingle, exponent, word));
      if (q % 4 == 1) bits = 0x3f800000;
      if (q % 4 == 3 && word >> 40 & 1) bits &= 0x80000000u;
      queries[q * stride + plane_position(width, row_bytes, i)] = float_of_bits(bits);
    }
  }
  return queries;
}

std::vector<float> metric_matrix(std::size_t dim, std::size_t stride) {
  std::size_t power = 1;
  while (power < dim) power *= 2;
  std::vector<float> matrix(dim * stride);
  for (std::size_t i = 0; i < dim; ++i) {
    for (std::size_t j = 0; j < dim; ++j) {
      const auto number = static_cast<float>((std::min(i, j) * 7 + std::max(i, j) * 13) % 17) - 8;
      matrix[i * stride + j] = i == j ? 1.0f + static_cast<float>(i % 3) / 4 : number / static_cast<float>(8 * power);
    }
  }
  return matrix;
}

AllowedRows allowed_list(const std::vector<std::int64_t>& rows, std::size_t n) {
  return AllowedRows::list(reinterpret_cast<const std::byte*>(rows.data()), sizeof(std::int64_t), rows.size(), n);
}

}  // namespace frazil::native
