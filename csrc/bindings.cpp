// The Python extension: borrows buffers, lets go of the GIL, turns exceptions into Python's. No arithmetic.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "cpu.h"
#include "dispatch.h"
#include "ops/pack.h"
#include "ops/refine.h"
#include "ops/score.h"
#include "ops/search.h"
#include "ops/sketch.h"
#include "parallel.h"
#include "probe.h"

namespace py = pybind11;
using namespace py::literals;

namespace frazil {
namespace {

// The thread whose Python code runs when signals come: set at import, and in a forked child.
std::atomic<unsigned long> main_thread{0};

// Lets go of the GIL while it lives. What is done meanwhile on the main thread ends by whatever exception a signal's
// handler raises: KeyboardInterrupt, mostly.
class Unlocked {
 public:
  Unlocked()
      : operation_(PyThread_get_thread_ident() == main_thread ? handle_signals : nullptr, this),
        state_(PyEval_SaveThread()) {}
  ~Unlocked() { lock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  // As Python 3.14 does itself, a thread that wants the GIL back when the interpreter has ended stays here for good:
  // earlier versions end such a thread by an exception, which a destructor may not let through.
  void lock() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }

  static void handle_signals(void* self) {
    auto& unlocked = *static_cast<Unlocked*>(self);
    std::exception_ptr error;
    unlocked.lock();
    if (PyErr_CheckSignals() != 0) error = std::make_exception_ptr(py::error_already_set());
    unlocked.state_ = PyEval_SaveThread();
    if (error) std::rethrow_exception(error);
  }

  parallel::Operation operation_;
  PyThreadState* state_;
};

std::string shape_of(const py::array& array) { return py::str(array.attr("shape")); }

FloatType float_type(const py::array& array, bool bfloat16) {
  if (bfloat16) return FloatType::kBfloat16;
  switch (array.itemsize()) {
    case 2:
      return FloatType::kHalf;
    case 4:
      return FloatType::kSingle;
    default:
      return FloatType::kDouble;
  }
}

// The distance from row to row; where there are not two rows, NumPy's number means nothing.
std::ptrdiff_t row_stride(const py::array& array) {
  return array.ndim() == 2 && array.shape(0) > 1 ? array.strides(0) : 0;
}

// One or two axes; a single vector counts as one row.
FloatMatrix borrow_floats(const py::array& array, bool bfloat16, const char* name) {
  const auto axes = array.ndim();
  if (axes != 1 && axes != 2) fail(std::string(name) + ": expected shape (n, d) or (d,), got " + shape_of(array));
  return {static_cast<const std::byte*>(array.data()),
          float_type(array, bfloat16),
          axes == 2 ? static_cast<std::size_t>(array.shape(0)) : 1,
          static_cast<std::size_t>(array.shape(axes - 1)),
          row_stride(array),
          array.strides(axes - 1),
          axes == 1};
}

// Two axes, or one where a single row will do. Bytes of a row that are not adjacent are copied; `array` holds the copy.
CodeMatrix borrow_codes(py::array_t<std::uint8_t>& array, const Format& format, bool may_be_single) {
  const auto axes = array.ndim();
  if (axes != 2 && !(axes == 1 && may_be_single)) {
    fail(std::string("codes: expected shape (n, row_bytes)") + (may_be_single ? " or (row_bytes,)" : "") + ", got " +
         shape_of(array));
  }
  const auto borrow = [&]() -> CodeMatrix {
    return {array.data(), axes == 2 ? static_cast<std::size_t>(array.shape(0)) : 1,
            static_cast<std::size_t>(array.shape(axes - 1)), row_stride(array), axes == 1};
  };
  check_codes(borrow(), format);  // before a copy is made
  if (array.strides(axes - 1) != 1 && array.shape(axes - 1) > 1) {
    array = py::array_t<std::uint8_t, py::array::c_style | py::array::forcecast>(array);
  }
  return borrow();
}

// The bytes that an array may touch: [first, second).
std::pair<std::uintptr_t, std::uintptr_t> extent(const py::array& array) {
  const auto at = reinterpret_cast<std::uintptr_t>(array.data());
  auto low = at, high = at + static_cast<std::uintptr_t>(array.itemsize());
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    if (array.shape(axis) == 0) return {at, at};
    const auto reach = array.strides(axis) * (array.shape(axis) - 1);
    (reach < 0 ? low : high) += static_cast<std::uintptr_t>(reach);
  }
  return {low, high};
}

// `out` as it was given, checked, or a new array.
template <class T>
py::array_t<T> output(const py::object& out, const std::vector<py::ssize_t>& shape, const char* type,
                      std::initializer_list<const py::array*> inputs) {
  if (out.is_none()) return py::array_t<T>(shape);
  const std::string wanted = "out: expected a " + std::string(type) + " array of shape " +
                             std::string(py::str(py::tuple(py::cast(shape)))) +
                             ", C-contiguous, aligned and writeable, got ";
  if (!py::isinstance<py::array>(out)) throw py::type_error(wanted + std::string(py::str(py::type::of(out))));
  auto array = py::reinterpret_borrow<py::array>(out);
  if (!array.dtype().equal(py::dtype::of<T>()))
    throw py::type_error(wanted + "dtype " + std::string(py::str(array.dtype())));
  if (static_cast<std::size_t>(array.ndim()) != shape.size() ||
      !std::equal(shape.begin(), shape.end(), array.shape())) {
    fail(wanted + "shape " + shape_of(array));
  }
  if (!(array.flags() & py::array::c_style)) fail(wanted + "an array that is not C-contiguous");
  if (!(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) fail(wanted + "an array that is not aligned");
  if (!array.writeable()) fail(wanted + "a read-only array");
  const auto [first, last] = extent(array);
  for (const py::array* input : inputs) {
    const auto [low, high] = extent(*input);
    if (first < high && low < last) fail("out: expected memory of its own, got an array that overlaps the input");
  }
  return py::reinterpret_borrow<py::array_t<T>>(array);
}

std::vector<py::ssize_t> shape2(bool single, std::size_t rows, std::size_t columns) {
  if (single) return {static_cast<py::ssize_t>(columns)};
  return {static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(columns)};
}

// How many threads may work: what was asked for, or as many as there are CPUs for this process.
unsigned allowed_threads(std::optional<unsigned> threads) { return threads ? *threads : parallel::default_threads(); }

py::array py_pack(const py::array& x, bool bfloat16, long dim, long bits, double limit, bool normal, bool refine,
                  const std::optional<py::array_t<float, py::array::c_style>>& matrix, const py::object& out,
                  std::optional<unsigned> threads) {
  const Format format = checked_format(dim, bits, limit, normal);
  const FloatMatrix in = borrow_floats(x, bfloat16, "x");
  check_columns("x", in, format);
  std::optional<Metric> metric;
  if (matrix) metric = Metric{matrix->data(), static_cast<std::size_t>(matrix->shape(0))};
  auto codes = output<std::uint8_t>(out, shape2(in.single, in.rows, format.row_bytes()), "uint8", {&x});
  std::uint8_t* const to = codes.mutable_data();
  {
    const Unlocked unlocked;
    if (refine) {
      pack_refined(format, in, "x", metric ? &*metric : nullptr, allowed_threads(threads), to);
    } else {
      pack(format, in, "x", allowed_threads(threads), to);
    }
  }
  return codes;
}

// For codes that are written part by part.
py::array output_codes(const py::object& out, const std::vector<py::ssize_t>& shape, const py::array& x) {
  return output<std::uint8_t>(out, shape, "uint8", {&x});
}

py::array py_unpack(py::array_t<std::uint8_t> codes, long dim, long bits, double limit, bool normal,
                    const py::object& out, std::optional<unsigned> threads) {
  const Format format = checked_format(dim, bits, limit, normal);
  const CodeMatrix in = borrow_codes(codes, format, true);
  auto values = output<float>(out, shape2(in.single, in.rows, format.dim), "float32", {&codes});
  float* const to = values.mutable_data();
  {
    const Unlocked unlocked;
    unpack(format, in, allowed_threads(threads), to);
  }
  return values;
}

// What score and search are given, checked before anything is allocated.
struct Scoring {
  Format format;
  FloatMatrix queries;
  CodeMatrix codes;
  int query_bits;
};

Scoring checked_scoring(const py::array& queries, bool bfloat16, py::array_t<std::uint8_t>& codes, long dim, long bits,
                        double limit, bool normal, long query_bits) {
  const Format format = checked_format(dim, bits, limit, normal);
  const FloatMatrix x = borrow_floats(queries, bfloat16, "queries");
  check_columns("queries", x, format);
  return {format, x, borrow_codes(codes, format, false), checked_query_bits(query_bits)};
}

py::array py_score(const py::array& queries, bool bfloat16, py::array_t<std::uint8_t> codes, long dim, long bits,
                   double limit, bool normal, long query_bits, const py::object& out, std::optional<unsigned> threads) {
  const Scoring in = checked_scoring(queries, bfloat16, codes, dim, bits, limit, normal, query_bits);
  const auto shape = shape2(in.queries.single, in.queries.rows, in.codes.rows);
  auto scores = output<float>(out, shape, "float32", {&queries, &codes});
  float* const to = scores.mutable_data();
  {
    const Unlocked unlocked;
    score(in.format, in.queries, in.codes, in.query_bits, allowed_threads(threads), to);
  }
  return scores;
}

// The mask's or the list's array, checked; neither where both are None. The rows are made of it without the GIL.
AllowedRows allowed_rows(const std::optional<py::array>& mask, const std::optional<py::array_t<std::int64_t>>& list,
                         std::size_t n) {
  if (mask) {
    if (mask->ndim() != 1 || static_cast<std::size_t>(mask->shape(0)) != n) {
      fail("allow: expected a mask of shape (" + std::to_string(n) + ",), got " + shape_of(*mask));
    }
    const auto* const data = static_cast<const std::uint8_t*>(mask->data());
    const auto stride = mask->strides(0);
    const Unlocked unlocked;
    return AllowedRows::mask(data, stride, n);
  }
  if (list) {
    if (list->ndim() != 1) fail("allow: expected row numbers of shape (m,), got " + shape_of(*list));
    const auto* const data = reinterpret_cast<const std::byte*>(list->data());
    const auto count = static_cast<std::size_t>(list->shape(0));
    const auto stride = list->strides(0);
    const Unlocked unlocked;
    return AllowedRows::list(data, stride, count, n);
  }
  return AllowedRows::all(n);
}

std::pair<py::array_t<float>, py::array_t<std::int64_t>> new_hits(const Scoring& in, std::size_t k,
                                                                  const AllowedRows& allowed) {
  const auto shape = shape2(in.queries.single, in.queries.rows, std::min(k, allowed.count()));
  return {py::array_t<float>(shape), py::array_t<std::int64_t>(shape)};
}

std::pair<py::array, py::array> py_search(const py::array& queries, bool bfloat16, py::array_t<std::uint8_t> codes,
                                          long dim, long bits, double limit, bool normal, std::size_t k,
                                          long query_bits, const std::optional<py::array>& allow_mask,
                                          const std::optional<py::array_t<std::int64_t>>& allow_rows,
                                          std::optional<unsigned> threads) {
  const Scoring in = checked_scoring(queries, bfloat16, codes, dim, bits, limit, normal, query_bits);
  const AllowedRows allowed = allowed_rows(allow_mask, allow_rows, in.codes.rows);
  auto [scores, rows] = new_hits(in, k, allowed);
  float* const scores_to = scores.mutable_data();
  std::int64_t* const rows_to = rows.mutable_data();
  {
    const Unlocked unlocked;
    search(in.format, in.queries, in.codes, std::min(k, allowed.count()), in.query_bits, allowed,
           allowed_threads(threads), scores_to, rows_to);
  }
  return {std::move(scores), std::move(rows)};
}

Sketch borrow_sketch(const py::array_t<std::uint8_t, py::array::c_style>& data) {
  if (data.ndim() != 1) fail("sketch: expected bytes of shape (n,), got " + shape_of(data));
  return read_sketch(data.data(), static_cast<std::size_t>(data.size()));
}

py::array py_build_sketch(py::array_t<std::uint8_t> codes, long dim, long bits, double limit, bool normal,
                          const py::object& out, std::optional<unsigned> threads) {
  const Format format = checked_format(dim, bits, limit, normal);
  const CodeMatrix in = borrow_codes(codes, format, false);
  auto data = output<std::uint8_t>(out, {static_cast<py::ssize_t>(sketch_bytes(format, in.rows))}, "uint8", {&codes});
  std::uint8_t* const to = data.mutable_data();
  {
    const Unlocked unlocked;
    build_sketch(format, in, allowed_threads(threads), to);
  }
  return data;
}

std::tuple<std::size_t, std::size_t, int> py_read_sketch(const py::array_t<std::uint8_t, py::array::c_style>& data) {
  const Sketch sketch = borrow_sketch(data);
  return {sketch.rows, sketch.shape.dim, sketch.code_bits};
}

std::pair<py::array, py::array> py_search_by_sketch(
    const py::array& queries, bool bfloat16, py::array_t<std::uint8_t> codes,
    const py::array_t<std::uint8_t, py::array::c_style>& data, double width, long dim, long bits, double limit,
    bool normal, std::size_t k, long query_bits, const std::optional<py::array>& allow_mask,
    const std::optional<py::array_t<std::int64_t>>& allow_rows, std::optional<unsigned> threads) {
  const Scoring in = checked_scoring(queries, bfloat16, codes, dim, bits, limit, normal, query_bits);
  const Sketch sketch = borrow_sketch(data);
  check_sketch(sketch, in.format, in.codes);
  const AllowedRows allowed = allowed_rows(allow_mask, allow_rows, in.codes.rows);
  auto [scores, rows] = new_hits(in, k, allowed);
  float* const scores_to = scores.mutable_data();
  std::int64_t* const rows_to = rows.mutable_data();
  {
    const Unlocked unlocked;
    search_by_sketch(in.format, in.queries, in.codes, sketch, width, std::min(k, allowed.count()), in.query_bits,
                     allowed, allowed_threads(threads), scores_to, rows_to);
  }
  return {std::move(scores), std::move(rows)};
}

std::uint64_t py_read_bytes(const py::array_t<std::uint8_t, py::array::c_style>& bytes, unsigned threads) {
  const std::uint8_t* const data = bytes.data();
  const auto n = static_cast<std::size_t>(bytes.size());
  const Unlocked unlocked;
  return read_bytes(data, n, threads);
}

std::uint64_t py_read_rows(const py::array_t<std::uint8_t, py::array::c_style>& rows, std::size_t kept,
                           unsigned threads) {
  if (rows.ndim() != 2) fail("rows: expected shape (n, row_bytes), got " + shape_of(rows));
  const auto n = static_cast<std::size_t>(rows.shape(0)), stride = static_cast<std::size_t>(rows.shape(1));
  if (kept > stride) fail("kept: expected at most " + std::to_string(stride) + ", got " + std::to_string(kept));
  const std::uint8_t* const data = rows.data();
  const Unlocked unlocked;
  return read_rows(data, n, kept, stride, threads);
}

std::uint64_t py_dot_peak(std::uint64_t rounds, unsigned threads) {
  const Unlocked unlocked;
  return dot_peak(rounds, threads);
}

template <class Pairs>
py::dict to_dict(const Pairs& pairs) {
  py::dict dict;
  for (const auto& [key, value] : pairs) dict[py::str(key)] = value;
  return dict;
}

}  // namespace
}  // namespace frazil

// NumPy does not support subinterpreters, except those that share all with the main one, so neither do we.
PYBIND11_MODULE(_native_unchecked, module, py::mod_gil_not_used(), py::multiple_interpreters::not_supported()) {
  using namespace frazil;
  module.attr("__version__") = FRAZIL_VERSION;
  main_thread = py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
  if (const auto os = py::module_::import("os"); py::hasattr(os, "register_at_fork")) {
    os.attr("register_at_fork")("after_in_child"_a =
                                    py::cpp_function([] { main_thread = PyThread_get_thread_ident(); }));
  }
  dispatch::runnable();  // here, where no other thread can fork meanwhile, the table of kernels is made

  // Arrays are of the right type, and counts at least 1: frazil/_arrays.py sees to that.
  module.def(
      "check_codec", [](long dim, long bits, double limit, bool normal) { checked_format(dim, bits, limit, normal); },
      "dim"_a, "bits"_a, "limit"_a, "normal"_a);
  module.def("output_codes", output_codes, "out"_a, "shape"_a, "x"_a);
  module.def("pack", py_pack, "x"_a, "bfloat16"_a, "dim"_a, "bits"_a, "limit"_a, "normal"_a, "refine"_a, "matrix"_a,
             "out"_a, "threads"_a);
  module.def("unpack", py_unpack, "codes"_a, "dim"_a, "bits"_a, "limit"_a, "normal"_a, "out"_a, "threads"_a);
  module.def("score", py_score, "queries"_a, "bfloat16"_a, "codes"_a, "dim"_a, "bits"_a, "limit"_a, "normal"_a,
             "query_bits"_a, "out"_a, "threads"_a);
  module.def("search", py_search, "queries"_a, "bfloat16"_a, "codes"_a, "dim"_a, "bits"_a, "limit"_a, "normal"_a, "k"_a,
             "query_bits"_a, "allow_mask"_a, "allow_rows"_a, "threads"_a);
  module.def("build_sketch", py_build_sketch, "codes"_a, "dim"_a, "bits"_a, "limit"_a, "normal"_a, "out"_a,
             "threads"_a);
  module.def(
      "sketch_size",
      [](long dim, long bits, std::size_t rows) { return sketch_bytes(checked_format(dim, bits, 1, false), rows); },
      "dim"_a, "bits"_a, "rows"_a);
  module.def("read_sketch", py_read_sketch, "data"_a);
  module.def("search_by_sketch", py_search_by_sketch, "queries"_a, "bfloat16"_a, "codes"_a, "data"_a, "width"_a,
             "dim"_a, "bits"_a, "limit"_a, "normal"_a, "k"_a, "query_bits"_a, "allow_mask"_a, "allow_rows"_a,
             "threads"_a);

  module.def("compiled_kernels", dispatch::compiled);
  module.def("runnable_kernels", dispatch::runnable);
  module.def("active_kernels", dispatch::active);
  module.def("force_kernels", dispatch::force, "name"_a);
  module.def("kernel_calls", [] { return to_dict(dispatch::calls()); });
  module.def("kernel_slots", [] {
    py::dict all;
    for (const auto& [name, slots] : dispatch::slots()) all[py::str(name)] = to_dict(slots);
    return all;
  });
  module.def("cpu_name", cpu_name);
  module.def("default_threads", parallel::default_threads);
  module.def("read_bytes", py_read_bytes, "bytes"_a, "threads"_a);
  module.def("read_rows", py_read_rows, "rows"_a, "kept"_a, "threads"_a);
  module.def("dot_peak", py_dot_peak, "rounds"_a, "threads"_a);
}

// What Python calls. pybind11 waits for itself forever in a subinterpreter of Python before 3.12, of any kind.
extern "C" PYBIND11_EXPORT PyObject* PyInit__native() {
#if PY_VERSION_HEX < 0x030C0000
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError, "module frazil._native does not support loading in subinterpreters");
    return nullptr;
  }
#endif
  return PyInit__native_unchecked();
}
