// What the machine can do at most, to measure kernels against.
#pragma once

#include <cstddef>
#include <cstdint>

namespace frazil {

// Reads n bytes once, in order, on the calling thread, and returns a checksum so that the reading is not left out.
std::uint64_t read_bytes(const std::uint8_t* at, std::size_t n);

}  // namespace frazil
