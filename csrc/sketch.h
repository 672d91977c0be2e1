// What a sketch of codes is: one bit for each dimension of a row, turned at random, and two numbers that bound what the
// bits do not tell. docs/format.md §7 is the specification. All of it static: see format.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format.h"

namespace frazil {

// Rows of a block, whose bytes lie transposed: the first byte of each row, then the second of each …
static constexpr std::size_t kSketchRows = 64;
// A query's turned values are rounded so that what four of them can add to a sum is at most this: eight such sums fit
// into a byte.
static constexpr int kTableMost = 31;
static constexpr std::size_t kTableEntries = 16;  // of a table, one for each value of four bits
// The error of that rounding may be up to 1 / kRounding of the query's norm; rows' bounds allow for it.
static constexpr float kRounding = 16;

struct SketchShape {
  std::size_t dim;    // of the codes
  std::size_t bits;   // of a row's sketch: dim and zeros up to a multiple of 64
  std::size_t block;  // the largest power of two that divides `bits`: what a Hadamard transform turns at a time

  explicit constexpr SketchShape(std::size_t d) : dim(d), bits((d + 63) / 64 * 64), block(bits & (~bits + 1)) {}
  constexpr std::size_t bytes() const { return bits / 8; }
  constexpr std::size_t factors_at() const {
    return bytes() * kSketchRows;
  }  // in a block: 64 factors, 64 errors, halves
  constexpr std::size_t block_bytes() const { return factors_at() + 2 * kSketchRows * sizeof(std::uint16_t); }
  constexpr std::size_t tables_bytes() const { return bits / 4 * kTableEntries; }
};

// The 64 signs of dimensions 64 * word … of a round, as bits: splitmix64's numbers.
[[maybe_unused]] static constexpr std::uint64_t sign_bits(std::size_t round, std::size_t word) {
  std::uint64_t z = (64 * round + word + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static constexpr std::size_t kRounds = 3;  // of signs and transforms

// Hadamard's butterflies on n numbers each at a distance of h: a + b, a - b; and of four, those of the distances h and
// 2h.
template <class T>
static void butterfly(T* __restrict a, T* __restrict b, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const T sum = a[i] + b[i], difference = a[i] - b[i];
    a[i] = sum;
    b[i] = difference;
  }
}
template <class T>
static void butterflies(T* __restrict a, T* __restrict b, T* __restrict c, T* __restrict d, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const T ab = a[i] + b[i], a_b = a[i] - b[i], cd = c[i] + d[i], c_d = c[i] - d[i];
    a[i] = ab + cd;
    b[i] = a_b + c_d;
    c[i] = ab - cd;
    d[i] = a_b - c_d;
  }
}

// Turns `Lanes` vectors at once: x[i * Lanes + l] is dimension i of vector l. `x` and `spare` hold shape.bits * Lanes
// numbers each; returns the one that holds the result, which is longer than the vector by block^1.5.
template <std::size_t Lanes, class T>
static T* turn(const SketchShape& shape, T* x, T* spare) {
  const std::size_t blocks = shape.bits / shape.block;
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < shape.bits; ++i) {
      if (sign_bits(round, i / 64) >> (i % 64) & 1) continue;
      for (std::size_t l = 0; l < Lanes; ++l) x[i * Lanes + l] = -x[i * Lanes + l];
    }
    std::size_t h = 1;
    for (; 4 * h <= shape.block; h *= 4) {
      for (std::size_t j = 0; j < shape.bits; j += 4 * h) {
        T* const at = x + j * Lanes;
        butterflies(at, at + h * Lanes, at + 2 * h * Lanes, at + 3 * h * Lanes, h * Lanes);
      }
    }
    if (h < shape.block) {
      for (std::size_t j = 0; j < shape.bits; j += 2 * h) butterfly(x + j * Lanes, x + (j + h) * Lanes, h * Lanes);
    }
    if (blocks > 1 && round + 1 < kRounds) {  // what was in one block is spread over all
      for (std::size_t i = 0; i < shape.bits; ++i) {
        T* const to = spare + ((i % blocks) * shape.block + i / blocks) * Lanes;
        for (std::size_t l = 0; l < Lanes; ++l) to[l] = x[i * Lanes + l];
      }
      T* const other = x;
      x = spare;
      spare = other;
    }
  }
  return x;
}

}  // namespace frazil
