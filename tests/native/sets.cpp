#include "sets.h"

#include <stdexcept>

#include "../../csrc/dispatch.h"

namespace frazil::native {
namespace {

const Kernels* table_of(const std::string& name) {
  dispatch::force(name);
  const Kernels& kernels = dispatch::table();
  if (kernels.name != name) throw std::logic_error("forced " + name + ", got " + kernels.name);
  return &kernels;
}

}  // namespace

Sets Sets::find(const std::string& only) {
  Sets sets;
  for (const auto& [name, slots] : dispatch::slots()) {
    if (!only.empty() && name != only) continue;
    Set set{name, table_of(name), slots.size(), 0, {}};
    for (const auto& [slot, origin] : slots) {
      set.own_slots += origin == name;
      if (origin != name && only.empty()) set.left_to_it.push_back(slot);
    }
    sets.tested.push_back(std::move(set));
  }
  sets.scalar = table_of("scalar");
  return sets;
}

}  // namespace frazil::native
