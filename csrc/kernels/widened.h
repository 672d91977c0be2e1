// Rows of 16-bit floats, which are widened before they are packed, since packing reads each value twice. In an unnamed
// namespace: see format.h.
#pragma once

#include <type_traits>

#include "common.h"

namespace frazil {
namespace {

template <class T>
constexpr bool kIsWidened = sizeof(T) == 2;

// What a row of T is packed as.
template <class T>
using Packed = std::conditional_t<kIsWidened<T>, float, T>;

// Where a row of T is widened to; nothing if it is not.
template <class T>
struct Widened {
  alignas(64) float values[kIsWidened<T> ? kMaxDim : 1];
};

}  // namespace
}  // namespace frazil
