#include "guarded.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(_WIN32)
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace frazil::native {
namespace {

constexpr std::size_t kCanaries = 256;

std::size_t page_size() {
#if defined(_WIN32)
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  return info.dwPageSize;
#else
  return static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
#endif
}

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "guarded memory: %s failed\n", what);
  std::exit(2);
}

std::uint8_t* new_pages(std::size_t bytes) {
#if defined(_WIN32)
  void* const at = VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (at == nullptr) give_up("VirtualAlloc");
#else
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) give_up("mmap");
#endif
  return static_cast<std::uint8_t*>(at);
}

void forbid(std::uint8_t* at, std::size_t bytes) {
#if defined(_WIN32)
  DWORD before = 0;
  if (!VirtualProtect(at, bytes, PAGE_NOACCESS, &before)) give_up("VirtualProtect");
#else
  if (mprotect(at, bytes, PROT_NONE) != 0) give_up("mprotect");
#endif
}

}  // namespace

Guarded::Guarded(std::size_t capacity) {
  const std::size_t page = page_size(), usable = (capacity + kCanaries + page - 1) / page * page;
  first_ = new_pages(usable + 2 * page) + page;
  last_ = first_ + usable;
  forbid(first_ - page, page);
  forbid(last_, page);
}

Guarded::~Guarded() {
  const std::size_t page = page_size();
#if defined(_WIN32)
  VirtualFree(first_ - page, 0, MEM_RELEASE);
#else
  munmap(first_ - page, static_cast<std::size_t>(last_ - first_) + 2 * page);
#endif
}

std::uint8_t* Guarded::place(std::size_t size, Side side) {
  if (size + kCanaries > static_cast<std::size_t>(last_ - first_)) give_up("placing an array that is too large");
  data_ = side == Side::kEnd ? last_ - size : first_;
  size_ = size;
  std::memset(side == Side::kEnd ? data_ - kCanaries : data_, kCanary, size + kCanaries);
  return data_;
}

bool Guarded::intact() const {
  const std::uint8_t* const beside = data_ == first_ ? data_ + size_ : data_ - kCanaries;
  return std::all_of(beside, beside + kCanaries, [](std::uint8_t byte) { return byte == kCanary; });
}

}  // namespace frazil::native
