#include "dispatch.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <stdexcept>

#include "cpu.h"

namespace frazil {

#define FRAZIL_ISA(name, needs) extern const Kernels kernels_##name;
#include "isa_list.inc"
#undef FRAZIL_ISA

namespace dispatch {
namespace {

struct Isa {
  const Kernels* own;
  std::uint32_t needs;
};

constexpr Isa kIsas[] = {
#define FRAZIL_ISA(name, needs) {&kernels_##name, needs},
#include "isa_list.inc"
#undef FRAZIL_ISA
};
constexpr std::size_t kCount = sizeof(kIsas) / sizeof(kIsas[0]);

struct Entry {
  Kernels table{};  // with every slot filled
  std::vector<std::pair<std::string, std::string>> slots;
  std::atomic<std::uint64_t> calls{0};
};

// The runnable sets, best first, their empty slots filled from the next slower ones.
class Registry {
 public:
  Registry() {
    const std::uint32_t features = cpu_features();
    for (std::size_t i = 0; i < kCount; ++i) {
      if ((kIsas[i].needs & ~features) == 0) owns_[size_++] = kIsas[i].own;
    }
    for (std::size_t i = size_; i-- > 0;) {
      Entry& entry = entries_[i];
      entry.table = *owns_[i];
      const Entry& slower = entries_[i + 1 < size_ ? i + 1 : i];  // complete already; the slowest set has every slot
      for_each_slot(entry.table, slower.table, [&](const char* slot, auto& own, const auto& inherited) {
        const std::string origin = own != nullptr ? entry.table.name : slower.slots[entry.slots.size()].second;
        if (own == nullptr) own = inherited;
        entry.slots.emplace_back(slot, origin);
      });
    }
  }

  std::size_t size() const { return size_; }
  Entry& entry(std::size_t i) { return entries_[i]; }

  // The index of a runnable set; throws with the list of choices.
  std::size_t find(std::string_view name, const char* what) const {
    std::string choices;
    for (std::size_t i = 0; i < size_; ++i) {
      if (name == owns_[i]->name) return i;
      choices += (i ? ", '" : "'") + std::string(owns_[i]->name) + "'";
    }
    throw std::invalid_argument(
        std::string(what) + ": '" + std::string(name) +
        "' is none of the instruction sets that this build holds and this CPU runs: " + choices);
  }

 private:
  std::array<const Kernels*, kCount> owns_{};
  std::array<Entry, kCount> entries_{};
  std::size_t size_ = 0;
};

Registry& registry() {
  static Registry* const instance = new Registry;  // never destroyed: threads may outlive static destructors
  return *instance;
}

constexpr int kUndecided = -2, kBest = -1;
std::atomic<int> forced{kUndecided};  // an index into the registry, or one of the above

// The forced set's index or kBest; reads the environment the first time.
int choice() {
  int now = forced.load(std::memory_order_acquire);
  if (now != kUndecided) return now;
  const char* wanted = std::getenv("FRAZIL_KERNELS");
  const int first =
      wanted == nullptr || *wanted == '\0' ? kBest : static_cast<int>(registry().find(wanted, "FRAZIL_KERNELS"));
  forced.compare_exchange_strong(now, first, std::memory_order_acq_rel);
  return forced.load(std::memory_order_acquire);
}

Entry& active_entry() {
  const int now = choice();
  return registry().entry(now == kBest ? 0 : static_cast<std::size_t>(now));
}

}  // namespace

std::vector<std::string> compiled() {
  std::vector<std::string> names;
  for (const Isa& isa : kIsas) names.emplace_back(isa.own->name);
  return names;
}

std::vector<std::string> runnable() {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < registry().size(); ++i) names.emplace_back(registry().entry(i).table.name);
  return names;
}

const Kernels& table() {
  Entry& entry = active_entry();
  entry.calls.fetch_add(1, std::memory_order_relaxed);
  return entry.table;
}

std::string active() { return active_entry().table.name; }

std::optional<std::string> force(const std::optional<std::string>& name) {
  const int next = name ? static_cast<int>(registry().find(*name, "name")) : kBest;
  choice();  // so that FRAZIL_KERNELS is what was forced before the first call
  const int before = forced.exchange(next, std::memory_order_acq_rel);
  if (before >= 0) return registry().entry(static_cast<std::size_t>(before)).table.name;
  return std::nullopt;
}

std::vector<std::pair<std::string, std::uint64_t>> calls() {
  std::vector<std::pair<std::string, std::uint64_t>> counts;
  for (std::size_t i = 0; i < registry().size(); ++i) {
    Entry& entry = registry().entry(i);
    counts.emplace_back(entry.table.name, entry.calls.load(std::memory_order_relaxed));
  }
  return counts;
}

std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> slots() {
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> all;
  for (std::size_t i = 0; i < registry().size(); ++i) {
    all.emplace_back(registry().entry(i).table.name, registry().entry(i).slots);
  }
  return all;
}

}  // namespace dispatch
}  // namespace frazil
