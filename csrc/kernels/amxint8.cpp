// AMX with bytes (Sapphire Rapids and later): registers of 16 lines of 64 bytes, and one instruction for the products
// of 16 queries and 16 rows, 64 dimensions each. Only tiles; the rest is avx512vnni's. Sums of 32 bits, which cannot
// overflow here: 4,096 * 255 * 127 < 2^31.
//
// Tile registers are numbered in the instructions themselves: 0 … 3 sums, 4 and 5 queries, 6 and 7 rows.
#include "../cpu.h"
#include "../kernel_table.h"
#include "tiles512.h"
#include "upcoming.h"
#include "vnni_tiles.h"

namespace frazil {
namespace {

constexpr std::size_t kLines = 16;  // of a tile register: queries, rows, or four bytes of each of the latter

// Fewer queries than this are avx512vnni's work, as a register takes as long whether it is full or not: the first of a
// call, while the next rows are asked for, and those left over.
constexpr std::size_t kFewest = 12, kFewestMore = 6;

// Tiles are those of avx512vnni, of rows that fill whole registers: what lies past the end of a row meets the zeros
// past the end of a query.
constexpr std::size_t whole(std::size_t row_bytes) { return plane_stride(row_bytes); }

std::size_t whole_tile_bytes(Width width, std::size_t rows, std::size_t row_bytes) {
  return tile_bytes(width, rows, whole(row_bytes));
}

template <Width W>
void load_whole_tile(const std::uint8_t* rows, std::ptrdiff_t stride, std::size_t n, std::size_t row_bytes,
                     std::uint8_t* tile) {
  load_tile_by<W>(rows, stride, n, row_bytes, tile_steps(whole(row_bytes)), tile);
}

// What the registers hold, as the instruction that sets them up reads it. That takes some 100 ns, and is done in each
// call anew: between two of them, anyone may have used the registers of this thread.
struct alignas(64) Registers {
  std::uint8_t palette = 1, first_line = 0, reserved[14] = {};
  std::uint16_t line_bytes[16] = {};
  std::uint8_t lines[16] = {};

  // For so many queries in registers 4 and 5.
  Registers(std::size_t first, std::size_t second) {
    for (const int i : {0, 1, 4}) lines[i] = static_cast<std::uint8_t>(first);
    for (const int i : {2, 3, 5}) lines[i] = static_cast<std::uint8_t>(second);
    for (const int i : {6, 7}) lines[i] = kLines;
    for (std::size_t i = 0; i < 8; ++i) line_bytes[i] = lines[i] != 0 ? 64 : 0;
  }
};

// GCC 12's own function tells the compiler of the first 8 of the 64 bytes that are read, which may then leave out the
// rest.
FRAZIL_INLINE inline void set_up(const Registers& registers) { __asm__ volatile("ldtilecfg %0" : : "m"(registers)); }

template <Width W>
using UpcomingLines = Upcoming<kGroup * 64 / planes(W)>;  // in each step, of 64 bytes of a plane

// 16 queries, or 17 to 32, against a group of 32 rows.
template <Width W, bool Both>
void dot_registers(const std::uint8_t* group, std::size_t row_bytes, const std::int8_t* queries, std::int32_t* dots,
                   std::size_t dots_stride, UpcomingLines<W> upcoming) {
  const std::size_t query_stride = planes(W) * plane_stride(row_bytes);
  const std::int8_t* const others = queries + kLines * query_stride;
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (Both) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (std::size_t at = 0; at < query_stride; at += 64, group += kGroup * 64) {
    upcoming.ask();
    _tile_loadd(4, queries + at, query_stride);
    _tile_loadd(6, group, 4 * kGroup);
    _tile_dpbsud(0, 4, 6);
    _tile_loadd(7, group + 64, 4 * kGroup);
    _tile_dpbsud(1, 4, 7);
    if constexpr (Both) {
      _tile_loadd(5, others + at, query_stride);
      _tile_dpbsud(2, 5, 6);
      _tile_dpbsud(3, 5, 7);
    }
  }
  const std::size_t line = dots_stride * sizeof(std::int32_t);
  _tile_stored(0, dots, line);
  _tile_stored(1, dots + kLines, line);
  if constexpr (Both) {
    std::int32_t* const below = dots + kLines * dots_stride;
    _tile_stored(2, below, line);
    _tile_stored(3, below + kLines, line);
  }
}

// Whether any of n dots, a multiple of 32, is at least `least`.
bool reaches(const std::int32_t* dots, std::size_t n, std::int32_t least) {
  __m512i most = TileVector::load(dots);
  for (std::size_t r = TileVector::kLanes; r < n; r += TileVector::kLanes) {
    most = TileVector::larger(most, TileVector::load(dots + r));
  }
  return TileVector::reaches(most, least);
}

template <Width W>
void dot_whole_tile(const std::uint8_t* tile, std::size_t n, std::size_t row_bytes, const std::int8_t* queries,
                    std::size_t n_queries, std::size_t span, std::int32_t* dots, std::size_t dots_stride,
                    const std::int32_t* least, bool* reached, const std::uint8_t* ahead) {
  const std::size_t group_bytes = whole_tile_bytes(W, kGroup, row_bytes);
  const std::size_t query_stride = planes(W) * plane_stride(row_bytes);
  const std::size_t padded = (n + kGroup - 1) / kGroup * kGroup;
  std::size_t ready = 0, q = 0;  // queries that the registers are set up for; the next one
  const bool allowed = n_queries >= kFewest && may_use_tiles();
  while (allowed && n_queries - q >= (q == 0 ? kFewest : kFewestMore)) {
    const std::size_t block = smaller(2 * kLines, n_queries - q), first = smaller(kLines, block);
    if (block != ready) {
      set_up(Registers(first, block - first));
      ready = block;
    }
    const UpcomingLines<W> upcoming(q == 0 ? ahead : nullptr, tile);
    const auto dot = block > kLines ? dot_registers<W, true> : dot_registers<W, false>;
    for (std::size_t r = 0; r < n; r += kGroup) {
      dot(tile + r / kGroup * group_bytes, row_bytes, queries + q * query_stride, dots + q * dots_stride + r,
          dots_stride, upcoming.after(r * row_bytes));
    }
    for (const std::size_t end = q + block; q < end; ++q) {
      reached[q] = reaches(dots + q * dots_stride, padded, least[q]);
    }
  }
  if (ready != 0) _tile_release();
  if (q == n_queries) return;
  dot_tile<TileVector, W, kQueryBlock>(tile, n, whole(row_bytes), queries + q * query_stride, n_queries - q, span,
                                       dots + q * dots_stride, dots_stride, least + q, reached + q,
                                       q == 0 ? ahead : nullptr);
}

std::uint64_t dot_peak(std::uint64_t rounds, const std::uint8_t* codes, const std::int8_t* query, std::int32_t* sums) {
  if (!may_use_tiles()) return 0;
  set_up(Registers(kLines, kLines));
  _tile_loadd(0, sums, 64);
  _tile_loadd(1, sums + 256, 64);
  _tile_loadd(2, sums + 512, 64);
  _tile_loadd(3, sums + 768, 64);
  _tile_loadd(4, query, 16);
  _tile_loadd(5, query + 64, 16);
  _tile_loadd(6, codes, 16);
  _tile_loadd(7, codes + 64, 16);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  _tile_stored(2, sums + 512, 64);
  _tile_stored(3, sums + 768, 64);
  _tile_release();
  return rounds * 4 * kLines * kLines * 64;
}

constexpr TileKernels kTiles{kGroup,
                             6,
                             128,
                             false,
                             whole_tile_bytes,
                             {load_whole_tile<kInt4>, load_whole_tile<kInt8>, load_whole_tile<kNormal4>},
                             {dot_whole_tile<kInt4>, dot_whole_tile<kInt8>, dot_whole_tile<kInt4>}};

}  // namespace

extern constinit const Kernels kernels_amxint8{
    .name = "amxint8",
    .tiles = &kTiles,
    .dot_peak = dot_peak,
};

}  // namespace frazil
