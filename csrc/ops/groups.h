// How a search is shared out to threads: by rows, or by queries.
#pragma once

#include <algorithm>

#include "../parallel.h"
#include "blocks.h"
#include "topk.h"

namespace frazil {

inline constexpr std::size_t kSegmentRows = std::size_t{1} << 31;      // TopK counts rows in 32 bits
inline constexpr std::size_t kQueryGroup = 1024;                       // queries searched in one pass over the rows
inline constexpr std::size_t kCandidateBytes = std::size_t{64} << 20;  // at most, about, for the candidates of a group
inline constexpr std::size_t kChunkBytes = std::size_t{1} << 18;       // of codes, or of what they are expanded to

// How many rows a thread takes from the common counter: a multiple of what it then scores at a time, or nearly.
inline std::size_t chunk_rows(const Format& format) {
  return std::clamp<std::size_t>(kChunkBytes / format.expanded().row_bytes() / 512 * 512, 512, 8192);
}

// Calls group(first, last, threads) for groups of queries. Many rows: the threads of each call share the rows. Few
// rows, many queries: several calls at once, of one thread each.
template <class Group>
void in_groups(const Format& format, std::size_t queries, std::size_t rows, std::size_t k, unsigned threads,
               Group&& group) {
  const std::size_t candidates = TopK::capacity(k) * sizeof(std::uint64_t);
  const std::size_t most = std::clamp<std::size_t>(kCandidateBytes / candidates, 1, kQueryGroup);
  const unsigned workers = parallel::worth(threads, rows * format.row_bytes() * queries, kBytesPerThread);
  if (workers == 1 || rows >= workers * chunk_rows(format)) {
    for (std::size_t q = 0; q < queries; q += most) group(q, std::min(queries, q + most), workers);
    return;
  }
  const std::size_t share = std::clamp<std::size_t>((queries + workers - 1) / workers, 1, most);
  parallel::Chunks groups(queries, share);
  parallel::run(workers, [&](unsigned) {
    std::size_t begin = 0, end = 0;
    while (groups.next(begin, end)) group(begin, end, 1u);
  });
}

}  // namespace frazil
