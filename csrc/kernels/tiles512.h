// Tiles (vnni_tiles.h) filled with, and multiplied by, vectors of 512 bits. In an unnamed namespace: see format.h.
#pragma once

#include "../kernel_table.h"
#include "vectors512.h"
#include "vnni_tiles.h"

namespace frazil {
namespace {

struct TileVector {
  static constexpr std::size_t kLanes = 16;
  static __m512i load(const void* at) { return _mm512_loadu_si512(at); }
  static void store(void* at, __m512i v) { _mm512_storeu_si512(at, v); }
  static __m512i all(std::int32_t entries) { return _mm512_set1_epi32(entries); }
  static __m512i dot(__m512i sums, __m512i codes, __m512i entries) { return _mm512_dpbusd_epi32(sums, codes, entries); }
  static __m512i larger(__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }
  static bool reaches(__m512i a, std::int32_t least) {
    return _mm512_cmpge_epi32_mask(a, _mm512_set1_epi32(least)) != 0;
  }
};

constexpr std::size_t kGroup = kGroupOf<TileVector>;  // 32 rows
constexpr std::size_t kQueryBlock = 12;               // 24 sums: the register file holds 32

// Puts `steps` times four bytes of 16 rows into a tile, 128 bytes apart, and the second plane `plane_bytes` on: at
// load(r) are 64 bytes of row r. In order, so that what is live fits into the registers.
template <Width W, class Load>
FRAZIL_INLINE inline void transpose(Load&& load, std::size_t steps, std::size_t plane_bytes, std::uint8_t* to) {
  __m512i v[16];  // v[4i + c]: in 128-bit lane l, dword 4l + c of rows 4i … 4i+3
  for_each_index<4>([&](auto i) FRAZIL_INLINE {
    const __m512i row[4] = {load(4 * i), load(4 * i + 1), load(4 * i + 2), load(4 * i + 3)};
    const __m512i low[2] = {_mm512_unpacklo_epi32(row[0], row[1]), _mm512_unpacklo_epi32(row[2], row[3])};
    const __m512i high[2] = {_mm512_unpackhi_epi32(row[0], row[1]), _mm512_unpackhi_epi32(row[2], row[3])};
    v[4 * i] = _mm512_unpacklo_epi64(low[0], low[1]);
    v[4 * i + 1] = _mm512_unpackhi_epi64(low[0], low[1]);
    v[4 * i + 2] = _mm512_unpacklo_epi64(high[0], high[1]);
    v[4 * i + 3] = _mm512_unpackhi_epi64(high[0], high[1]);
    for_each_index<4>([&](auto c) FRAZIL_INLINE { FRAZIL_IN_PLACE(v[4 * i + c]); });
  });
  const auto put = [&](std::size_t step, __m512i bytes) FRAZIL_INLINE {
    if (step >= steps) return;
    for_each_index<planes(W)>([&](auto plane) FRAZIL_INLINE {
      _mm512_storeu_si512(to + 128 * step + plane * plane_bytes, split<W>(bytes, plane));
    });
  };
  for_each_index<4>([&](auto c) FRAZIL_INLINE {
    const __m512i a = _mm512_shuffle_i32x4(v[c], v[4 + c], 0x88), b = _mm512_shuffle_i32x4(v[c], v[4 + c], 0xdd);
    const __m512i d = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0x88);
    const __m512i e = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0xdd);
    put(c, _mm512_shuffle_i32x4(a, d, 0x88));
    put(8 + c, _mm512_shuffle_i32x4(a, d, 0xdd));
    put(4 + c, _mm512_shuffle_i32x4(b, e, 0x88));
    put(12 + c, _mm512_shuffle_i32x4(b, e, 0xdd));
  });
}

// Fills a tile whose planes have so many steps, of four bytes: those of a row, or more.
template <Width W>
void load_tile_by(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
                  std::size_t steps, std::uint8_t* tile) {
  const std::size_t plane_bytes = steps * 128;
  for (std::size_t r = 0; r < n; r += 16, rows += 16 * stride) {
    std::uint8_t* const base = tile + r / kGroup * planes(W) * plane_bytes + r % kGroup * 4;
    const std::size_t here = smaller(16, n - r);
    for (std::size_t j = 0; j < row_bytes; j += 64) {
      const auto at = [&](std::size_t i) FRAZIL_INLINE { return rows + j + static_cast<std::ptrdiff_t>(i) * stride; };
      if (here == 16 && j + 64 <= row_bytes) {
        const auto load = [&](std::size_t i) FRAZIL_INLINE { return _mm512_loadu_si512(at(i)); };
        transpose<W>(load, 16, plane_bytes, base + j * 32);
      } else {
        const __mmask64 mask = head64(row_bytes - j);
        const auto load = [&](std::size_t i) FRAZIL_INLINE {
          return i < here ? _mm512_maskz_loadu_epi8(mask, at(i)) : _mm512_setzero_si512();
        };
        transpose<W>(load, smaller(16, steps - j / 4), plane_bytes, base + j * 32);
      }
    }
  }
}

}  // namespace
}  // namespace frazil
