// Which instruction set's kernels run: the list of what is compiled in, what this CPU can run, and what was asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel_table.h"

namespace frazil::dispatch {

std::vector<std::string> compiled();  // best first
std::vector<std::string> runnable();  // best first

// The table in force. An operation asks once, above its row loop, and is counted.
// Throws std::invalid_argument if the environment variable FRAZIL_KERNELS names a set that cannot run.
const Kernels& table();

// The name of the table in force, uncounted.
std::string active();

// Forces a set (nullopt: the best again) and returns what was forced before. Throws std::invalid_argument.
std::optional<std::string> force(const std::optional<std::string>& name);

// How often table() has answered with each runnable set.
std::vector<std::pair<std::string, std::uint64_t>> calls();

// For each runnable set, the set whose function sits in each slot.
std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> slots();

}  // namespace frazil::dispatch
