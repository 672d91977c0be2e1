// Memory between forbidden pages: whoever reads or writes past an array there is killed at once.
#pragma once

#include <cstddef>
#include <cstdint>

namespace frazil::native {

// Which end of an array lies at a forbidden page. At the other end canaries show what has been written.
enum class Side { kEnd, kStart };

class Guarded {
 public:
  // Pages that are not used cost nothing.
  explicit Guarded(std::size_t capacity = std::size_t{1} << 25);
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  // Room for `size` bytes, filled with canaries as what lies beside it is; what was placed before is gone.
  std::uint8_t* place(std::size_t size, Side side);
  template <class T>
  T* place_of(std::size_t count, Side side) {
    return reinterpret_cast<T*>(place(count * sizeof(T), side));
  }

  std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }

  // Whether nothing has been written beside the array.
  bool intact() const;

 private:
  std::uint8_t *first_, *last_;  // of the pages that may be used: the first one, the one after them
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

inline constexpr std::uint8_t kCanary = 0xa5;

}  // namespace frazil::native
