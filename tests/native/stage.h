// Calls kernels with all that they are given, and all that they write, in guarded memory.
#pragma once

#include "../../csrc/kernel_table.h"
#include "guarded.h"
#include "report.h"

namespace frazil::native {

// How memory may be asked for ahead.
inline constexpr Ahead::Way kWays[] = {Ahead::kNothing, Ahead::kInOrder, Ahead::kSpread};

class Stage {
 public:
  // `rows` are n rows of row_bytes bytes, side by side: they are copied to where the layout has them. What a kernel has
  // written is in output(0), (1) … afterwards.
  std::size_t pack(Kernels::Pack* kernel, const std::uint8_t* rows, std::size_t n, std::size_t row_bytes,
                   const Format& format, Ahead::Way ask, const Layout& layout);
  void unpack(Kernels::Unpack* kernel, const std::uint8_t* rows, std::size_t n, const Format& format,
              const Layout& layout);
  void expand(Kernels::Expand* kernel, const std::uint8_t* rows, std::size_t n, std::size_t row_bytes,
              const std::uint8_t* levels, const Layout& layout);
  // The dots are in output(0), `dots_stride` numbers from query to query; false if any of the `beside` numbers between
  // two queries' has changed. `ask`: for memory ahead.
  bool dot_rows(Kernels::DotRows* kernel, const std::uint8_t* rows, std::size_t n, const Format& format,
                const std::int8_t* queries, std::size_t n_queries, std::size_t beside, Ahead::Way ask,
                std::size_t& dots_stride, const Layout& layout);
  void dot_picked(Kernels::DotPicked* kernel, const std::uint8_t* rows, std::size_t n, const Format& format,
                  const std::int8_t* query, const std::uint32_t* picked, std::size_t n_picked, const Layout& layout);
  void float_rows(Kernels::FloatRows* kernel, const std::uint8_t* rows, std::size_t n, const Format& format,
                  const float* query, const Layout& layout);
  std::size_t select(Kernels::Select* kernel, const std::int32_t* dots, std::size_t n, std::int32_t threshold,
                     Side side);
  // The bits, the squares, the sums.
  void sketch_rows(Kernels::SketchRows* kernel, const std::uint8_t* rows, std::size_t n, const Format& format,
                   const float* centre, const Layout& layout);
  // queries[q].tables are copied, too. Afterwards picks[q] are in output(2 * q), the bounds in output(2 * q + 1).
  void sketch_select(Kernels::SketchSelect* kernel, const std::uint8_t* blocks, std::size_t n, const SketchShape& shape,
                     const SketchQuery* queries, std::size_t n_queries, const float* least, std::size_t* counts,
                     Side side);
  void metric_rows(Kernels::MetricRows* kernel, const float* metric, std::size_t stride, std::size_t dim,
                   const float* rows, std::size_t n, Side side);
  // The arrays that it changes are copied: afterwards the codes are in output(0), the gradient in output(1), the steps
  // up and down in output(2) and (3).
  std::size_t refine_row(Kernels::RefineRow* kernel, Refinement row, std::size_t dim, Side side);
  // Fills a tile, scores it: the dots are in output(0), `dots_stride` numbers from query to query, and whether each
  // query was reached in output(1). `beside`: how many numbers there are between two queries' dots that must not
  // change; false if they have.
  bool tile(const TileKernels& tiles, Width width, const std::uint8_t* rows, std::size_t n, std::size_t row_bytes,
            const std::int8_t* queries, std::size_t n_queries, const std::int32_t* least, std::size_t beside,
            std::size_t& dots_stride, const Layout& layout);
  std::uint64_t dot_peak(Kernels::DotPeak* kernel, std::uint64_t rounds, const std::uint8_t* codes,
                         const std::int8_t* query, Side side);

  static constexpr std::size_t kMostQueries = 16;  // for sketch_select

  const Guarded& output(std::size_t i) const { return outputs_[i]; }
  // Whether nothing was written beside the outputs.
  bool intact() const;

 private:
  // Where the first row lies, and how far the next one is.
  const std::uint8_t* place_rows(const std::uint8_t* rows, std::size_t n, std::size_t row_bytes, const Layout& layout,
                                 std::ptrdiff_t& stride);
  template <class T>
  T* out(std::size_t i, std::size_t count, Side side) {
    used_ = i + 1 > used_ ? i + 1 : used_;
    return outputs_[i].place_of<T>(count, side);
  }

  Guarded rows_, query_, numbers_, more_, scratch_, outputs_[2 * kMostQueries];
  std::size_t used_ = 0;
};

}  // namespace frazil::native
