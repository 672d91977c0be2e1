// What the machine can do at most, to measure kernels against.
#pragma once

#include <cstddef>
#include <cstdint>

namespace frazil {

// Reads n bytes once, in order, shared out to threads in pieces, and returns a checksum so that the reading is not left
// out.
std::uint64_t read_bytes(const std::uint8_t* at, std::size_t n, unsigned threads);

// Reads the first `kept` bytes of each of n rows `stride` bytes apart, asking for rows ahead in order.
std::uint64_t read_rows(const std::uint8_t* at, std::size_t n, std::size_t kept, std::size_t stride, unsigned threads);

// Has each thread multiply and add up codes and queries at the rate of the instruction set in force; returns how many
// products were made in all. `rounds`: some 500 to 1,000 products each.
std::uint64_t dot_peak(std::uint64_t rounds, unsigned threads);

}  // namespace frazil
