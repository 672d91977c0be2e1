// Whole operations on inputs and outputs in guarded memory, each boiled down to the digest of what it has written.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "guarded.h"
#include "inputs.h"

namespace frazil::native {

class Operations {
 public:
  explicit Operations(const Format& format);

  // Every operation by its name in the golden file: called with a number of threads, it returns the digest.
  // Any one of them may be called by one thread at a time.
  using Operation = std::function<std::uint64_t(unsigned threads)>;
  const std::vector<std::pair<std::string, Operation>>& all() const { return all_; }

  // Whether nothing was written beside the outputs.
  bool intact() const { return scores_.intact() && rows_.intact() && bytes_.intact(); }
  // Whether packing and searching name the row that holds a NaN.
  bool names_bad_rows(unsigned threads);

 private:
  std::uint64_t pack(const FloatMatrix& x, unsigned threads);
  std::uint64_t refine(const FloatMatrix& x, bool by_metric, unsigned threads);
  std::uint64_t unpack(unsigned threads);
  std::uint64_t score(int query_bits, unsigned threads);
  enum class Allow { kAll, kMask, kList };
  std::uint64_t search(int query_bits, std::size_t k, Allow allow, bool by_sketch, unsigned threads);
  std::uint64_t build_sketch(unsigned threads);
  FloatMatrix matrix(FloatType type, std::size_t n, std::size_t spread, const std::string& name, Guarded& where);

  const Format format_;
  const std::size_t n_;  // rows
  const std::string suffix_;
  static constexpr std::size_t kMatrices = 5;
  Guarded x_[kMatrices], codes_, queries_, sketch_, scores_, rows_, bytes_;  // places
  std::vector<float> metric_;
  FloatMatrix query_matrix_;
  CodeMatrix code_matrix_;
  std::vector<std::pair<std::string, Operation>> all_;
};

}  // namespace frazil::native
