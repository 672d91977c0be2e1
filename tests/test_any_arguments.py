"""Arguments of every kind, drawn at random: the right answer or a ValueError or TypeError, never anything else."""

import array
import operator
from fractions import Fraction
from numbers import Real

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import random_codes

import frazil
from frazil import Sketch

CODEC, N = frazil.Codec(6, 4, 0.6), 70
METRIC = frazil.Metric(np.diag(np.arange(1.0, 7)))
ROWS = random_codes(N, CODEC)
SKETCH = Sketch.build(CODEC, ROWS)
QUERIES = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
WRONG = object()  # what an argument means that must be refused

few = settings(derandomize=True, deadline=None, max_examples=150)


class Subclass(np.ndarray):
    pass


class WithArray:
    """An array by NumPy's protocol."""

    def __init__(self, data):
        self._data = data

    def __array__(self, dtype=None, copy=None):
        return self._data


class WithDlpackAlone:
    """An array by a protocol that NumPy's asarray does not ask for."""

    def __init__(self, data):
        self._data = data

    def __dlpack__(self, **options):
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._data.__dlpack_device__()


class Hostile:
    """What raises whatever is asked of it."""

    def __array__(self, dtype=None, copy=None):
        raise OverflowError("no array")

    def __index__(self):
        raise TypeError("no number")


def misaligned(x):
    if x.dtype.hasobject:
        return x
    raw = np.empty(x.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
    return raw[1:].view(x.dtype).reshape(x.shape)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


# What holds the same numbers, the same way up.
VIEWS = {
    "as it is": lambda x: x,
    "Fortran order": np.asfortranarray,
    "backwards": lambda x: x[tuple([slice(None, None, -1)] * x.ndim)].copy()[tuple([slice(None, None, -1)] * x.ndim)],
    "spread out": lambda x: np.repeat(np.repeat(x, 2, 0), 3, -1)[::2, ..., ::3] if x.ndim > 1 else np.repeat(x, 2)[::2],
    "read-only": read_only,
    "misaligned": misaligned,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "a subclass": lambda x: x.view(Subclass),
    "field of a record": lambda x: np.rec.fromarrays([x, x], names="a,b")["b"],
    "__array__": WithArray,
    "a memory view": lambda x: memoryview(np.ascontiguousarray(x)),
}
NO_ARRAYS = [None, 3, 2.5, "text", b"bytes", {}, {1, 2}, Hostile(), object(), [[1.0], [1.0, 2.0]], range(3), lambda: 0]


def viewed(draw, x, names=VIEWS):
    if x.ndim == 0:
        return x
    return VIEWS[draw(st.sampled_from(sorted(names)))](x)


@st.composite
def floats(draw):
    """Something given for floats, and the matrix that it means."""
    shape = draw(
        st.sampled_from([(4, 6), (4, 8), (0, 6), (1, 7), (7,), (6,), (4, 5), (5,), (0,), (), (2, 2, 6), (0, 0)])
    )
    dtype = np.dtype(
        draw(st.sampled_from(["f2", "f4", "f8", "f4", "i4", "u1", "?", "c8", "O", "U3", "M8[s]", "f4,f4", "g"]))
    )
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x = np.array(rng.standard_normal(shape) * 10.0 ** draw(st.integers(-3, 4)), "f4")
    if draw(st.booleans()) and x.size:
        x.flat[rng.integers(x.size)] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e-40, 6e4]))
    if dtype.kind != "f" or dtype.char == "g":
        x = np.nan_to_num(x)
    with np.errstate(all="ignore"):
        x = np.array(x, dtype) if dtype.names is None else np.zeros(shape, dtype)
    good = dtype.char in "efd" and 1 <= len(shape) <= 2 and shape[-1] >= 6
    kept = x.reshape(-1, shape[-1])[:, :6] if good else None
    meaning = (x if len(shape) == 2 else x[None]) if good and np.isfinite(kept).all() else WRONG
    kind = draw(st.sampled_from(["array"] * 6 + ["list", "masked", "dlpack", "array.array", "no array"]))
    if kind == "array" or dtype.char not in "efd":
        return viewed(
            draw, x, VIEWS.keys() - {"a memory view", *(["other byte order"] if dtype.names else [])}
        ), meaning
    if kind == "list" and x.size:
        return x.astype("f8").tolist(), meaning if meaning is WRONG else meaning.astype("f8")
    if kind == "array.array" and x.ndim == 1 and dtype.char in "fd":
        return array.array(dtype.char, x.tolist()), meaning
    if kind == "masked":
        return np.ma.array(x), WRONG
    if kind == "dlpack":
        return WithDlpackAlone(x), WRONG
    return draw(st.sampled_from(NO_ARRAYS)), WRONG


@st.composite
def codes(draw):
    if draw(st.integers(0, 4)) == 0:
        wrong = [
            *NO_ARRAYS,
            ROWS.tolist(),
            np.ma.array(ROWS),
            WithArray(ROWS),
            ROWS[:, :2],
            ROWS[None],
            ROWS[()].view("i1"),
        ]
        return draw(st.sampled_from([*wrong, ROWS.astype("f4"), ROWS > 3, np.zeros((3, 3), "O"), np.uint8(3)])), WRONG
    rows = ROWS[: draw(st.integers(0, N))]
    return viewed(draw, rows, VIEWS.keys() - {"__array__", "a memory view", "field of a record"}), rows


numbers = st.one_of(
    st.integers(-2, 40),
    st.sampled_from([4, 8, 32, None, True, 2**31, -(2**31), 2**63, 2**64, 10**400, -(10**400), 1e-3, 0.05, 0.1, 1e-12]),
    st.floats(),
    st.sampled_from(
        [np.int8(4), np.uint64(8), np.float32(1e-3), np.float16(0.01), np.bool_(True), np.array(8), np.array([8])]
    ),
    st.sampled_from(["8", b"8", 4j, Fraction(1, 100), Fraction(10**400), [], Hostile(), np.datetime64(3, "s")]),
)


def whole(value, least):
    """Return what a number means that must be whole and at least so much."""
    try:
        number = operator.index(value)
    except (TypeError, OverflowError):
        return WRONG
    return WRONG if isinstance(value, (bool, np.bool_)) or number < least else number


def query_bits_of(value):
    return number if (number := whole(value, 0)) in (4, 8, 32) else WRONG


def real(value, least, most):
    """Return what a number means that must lie between two others."""
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        return WRONG
    try:
        value = float(value)
    except OverflowError:
        return WRONG
    return value if least <= value <= most else WRONG


def failure_of(value):
    return real(value, 1e-12, 0.1)


@st.composite
def allows(draw, n):
    """Something given for `allow`, and the row numbers that it means."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    kind = draw(st.sampled_from(["none", "mask", "rows", "rows", "wrong"]))
    if kind == "none":
        return None, np.arange(n)
    if kind == "mask":
        mask = rng.random(n) < draw(st.floats(0, 1))
        given = mask.tolist() if draw(st.booleans()) and n else viewed(draw, mask, VIEWS.keys() - {"other byte order"})
        return given, np.flatnonzero(mask)
    if kind == "rows":
        rows = rng.integers(0, max(n, 1), draw(st.integers(0, 100 if n else 0)))
        bad = draw(st.sampled_from([None, None, None, -1, n, 2**62]))
        dtype = draw(st.sampled_from(["i1", "u1", "i4", "u4", "i8", "u8"]))
        if bad is not None and dtype in ("i8",):
            rows = np.append(rows, bad)
        return viewed(draw, rows.astype(dtype)), WRONG if (rows < 0).any() or (rows >= n).any() else np.unique(rows)
    wrong = [
        np.zeros(n + 1, bool),
        np.zeros((n, 1), bool),
        np.zeros((1, 1), int),
        np.ones(3),
        np.array(["a"]),
        np.True_,
    ]
    wrong += [
        np.ma.array(np.zeros(n, bool)),
        np.array([2**63], "u8"),
        {0, 1},
        "all",
        Hostile(),
        [[0], [0, 1]],
        [None],
        0,
    ]
    return draw(st.sampled_from(wrong)), WRONG


def answers(right, call):
    """Make a call: it must give an answer if all is right, else a ValueError or TypeError (and no warning)."""
    if right:
        return call()
    with pytest.raises((ValueError, TypeError)) as raised:
        call()
    assert str(raised.value)
    return None


@st.composite
def outs(draw, shape, dtype):
    """Something given for `out`, and whether it will do."""
    good = np.empty(shape, dtype)
    wrong = [good.astype("i8"), np.empty((*shape, 2), dtype)[..., 0] if good.size > 1 else np.empty(3), read_only(good)]
    wrong += [np.empty((*shape, 1), dtype), good.tolist(), "out", np.ma.array(good).filled().astype(complex)]
    if draw(st.booleans()):
        return draw(st.sampled_from(wrong)), WRONG
    return draw(st.sampled_from([None, good])), good


def pack(data):
    (x, meaning), threads = data.draw(floats()), data.draw(numbers)
    right = meaning is not WRONG
    shape = (len(meaning), 3) if right else (4, 3)
    if right and np.ndim(x) == 1:
        shape = (3,)
    out, usable = data.draw(outs(shape, np.uint8))
    right &= usable is not WRONG and (threads is None or whole(threads, 1) is not WRONG)
    refine = data.draw(st.sampled_from([False, True, METRIC, Hostile(), 1, "all", np.eye(6), frazil.Metric(np.eye(4))]))
    right &= isinstance(refine, bool) or refine is METRIC
    found = answers(right, lambda: CODEC.pack(x, refine=refine, out=out, threads=threads))
    if right:
        assert type(found) is np.ndarray
        metric = METRIC.matrix if refine is METRIC else None
        refined = reference.refine_ordered(meaning, 6, 4, CODEC.limit, metric)[0]
        plain = reference.pack_ordered(meaning, 6, 4, CODEC.limit)
        np.testing.assert_array_equal(found, (refined if refine else plain).reshape(shape))


def search(data):
    (x, queries), (rows, plain) = data.draw(floats()), data.draw(codes())
    allow, allowed = data.draw(allows(N if plain is WRONG else len(plain)))
    k, bits, threads, failure = (data.draw(st.one_of(st.just(good), numbers)) for good in (5, 8, None, 1e-3))
    meanings = [queries, plain, allowed, whole(k, 1), query_bits_of(bits), failure_of(failure)]
    right = all(meaning is not WRONG for meaning in meanings)
    right &= threads is None or whole(threads, 1) is not WRONG
    sketch = None if plain is WRONG or data.draw(st.booleans()) else Sketch.build(CODEC, plain)
    options = {"query_bits": bits, "allow": allow, "threads": threads, "failure": failure, "sketch": sketch}
    found = answers(right, lambda: CODEC.search(x, rows, k, **options))
    if right:
        scores = reference.score_ordered(queries, plain, 6, 4, CODEC.limit, query_bits_of(bits))
        if sketch is None:
            best_scores, best = reference.search(scores, min(k, N), allowed)
            np.testing.assert_array_equal(found.rows.reshape(best.shape), best)
            np.testing.assert_array_equal(found.scores.reshape(best.shape), best_scores)
        else:
            of_queries = found.rows.reshape(len(queries), -1)
            assert of_queries.shape[1] == min(k, len(allowed))
            assert np.isin(of_queries, allowed).all()
            np.testing.assert_array_equal(
                found.scores.reshape(of_queries.shape), np.take_along_axis(scores, of_queries, 1)
            )


def score_and_unpack(data):
    (x, queries), (rows, plain) = data.draw(floats()), data.draw(codes())
    bits, threads = data.draw(st.one_of(st.just(8), numbers)), data.draw(st.one_of(st.none(), numbers))
    good = plain is not WRONG and (threads is None or whole(threads, 1) is not WRONG)
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        values = answers(good, lambda: CODEC.unpack(rows, threads=threads))
        assert not good or np.allclose(values, reference.unpack(plain, 4, CODEC.limit), atol=1e-6)
    right = good and queries is not WRONG and query_bits_of(bits) is not WRONG
    scores = answers(right, lambda: CODEC.score(x, rows, query_bits=bits, threads=threads))
    if right:
        expected = reference.score_ordered(queries, plain, 6, 4, CODEC.limit, query_bits_of(bits))
        np.testing.assert_array_equal(scores.reshape(expected.shape), expected)


def codec(data):
    dim, bits, limit = (data.draw(st.one_of(st.just(good), numbers)) for good in (64, 4, None))
    d, b = whole(dim, 2), whole(bits, 4)
    right = d is not WRONG and d <= 4096 and b in (4, 8) and not (b == 4 and d % 2)
    right &= limit is None or real(limit, 1e-6, 1e6) is not WRONG
    made = answers(right, lambda: frazil.Codec(dim, bits, limit))
    if right:
        assert (made.dim, made.bits) == (d, b)
        assert eval(repr(made), {"Codec": frazil.Codec}) == made


def sketch_of_any_bytes(data):
    """Whatever its bytes: refused, or searched without a crash, for answers that are rows, with their scores."""
    raw = SKETCH.data.copy()
    kind = data.draw(st.sampled_from(["damaged", "cut", "other", "no bytes"]))
    if kind == "damaged":
        for _ in range(data.draw(st.integers(1, 20))):
            at = data.draw(st.one_of(st.integers(0, 63), st.integers(0, len(raw) - 1)))
            raw[at] = data.draw(st.integers(0, 255))
    elif kind == "cut":
        raw = np.resize(raw, data.draw(st.integers(0, 2 * len(raw))))
    elif kind == "other":
        raw = np.frombuffer(data.draw(st.binary(max_size=300)), np.uint8)
    else:
        raw = data.draw(
            st.sampled_from([*NO_ARRAYS, raw[None], raw.view("i1"), raw[0], raw.tolist(), raw.astype("f4")])
        )
    try:
        sketch = Sketch(raw)
        hits = CODEC.search(QUERIES, ROWS, data.draw(st.integers(1, 100)), sketch=sketch, query_bits=data.draw(bits))
    except (ValueError, TypeError):
        return
    assert kind != "no bytes"
    assert ((hits.rows >= -1) & (hits.rows < N)).all()
    assert all(len(np.unique(line[line >= 0])) == (line >= 0).sum() for line in hits.rows)


def kernels(data):
    name = data.draw(st.one_of(st.text(), st.none(), numbers, st.sampled_from(frazil.kernels()), st.just(Hostile())))
    right = name is None or name in frazil.kernels() if isinstance(name, (str, type(None))) else False
    with answers(right, lambda: frazil.use_kernels(name)) or frazil.use_kernels(None):
        np.testing.assert_array_equal(CODEC.search(QUERIES, ROWS, 3).rows.shape, (3, 3))
    frazil.use_kernels(None)


bits = st.sampled_from([4, 8, 32])
PROPERTIES = [pack, search, score_and_unpack, codec, sketch_of_any_bytes, kernels]


@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
@few
@given(st.data())
def test_any_arguments(check, data):
    check(data)


@pytest.mark.soak
@pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
@settings(deadline=None, max_examples=3_000)
@given(st.data())
def test_any_arguments_for_minutes(check, data):
    check(data)
