// Arrays that begin with a cache line: vectors of 64 bytes that lie across two lines take twice as long.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace frazil {

inline constexpr std::align_val_t kCacheLine{64};

template <class T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <class U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kCacheLine)); }
  void deallocate(T* at, std::size_t) { ::operator delete(at, kCacheLine); }
  friend bool operator==(LineAllocator, LineAllocator) { return true; }
};
template <class T>
using Lines = std::vector<T, LineAllocator<T>>;

struct LineDeleter {
  void operator()(void* at) const { ::operator delete(at, kCacheLine); }
};
// The same, of numbers that are not set, and that stay where they are.
template <class T>
using LineArray = std::unique_ptr<T[], LineDeleter>;
template <class T>
LineArray<T> make_lines(std::size_t n) {
  return LineArray<T>(static_cast<T*>(::operator new(n * sizeof(T), kCacheLine)));
}

}  // namespace frazil
