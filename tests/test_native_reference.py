"""The golden digests of the native tests are the reference's: whole operations, on the same inputs, by NumPy."""

from pathlib import Path

import native_inputs as inputs
import numpy as np
import pytest
import reference

GOLDEN = Path(__file__).parent / "native" / "golden" / "operations.txt"
QUERIES, EXTRA_COLUMNS, WIDTH, REFINED = 9, 3, 3.0, 120


@pytest.fixture(scope="module")
def golden():
    lines = [line.rsplit(" ", 1) for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    return {name: int(digest, 16) for name, digest in lines}


class Case:
    """The inputs of one format's operations; `levels` are its codes, of normal spacing as 8-bit ones."""

    def __init__(self, dim, bits, normal):
        self.dim, self.bits, self.limit, self.normal = dim, bits, inputs.limit_of(dim), normal
        self.suffix = f"normal {dim}" if normal else f"int{bits} {dim}"
        row_bytes = dim * bits // 8
        self.n = min(300000 // row_bytes, 5000) + 700
        self.codes = inputs.code_rows(f"op codes {self.suffix}", self.n, row_bytes)
        self.queries = self.rows("queries", "single", QUERIES)
        self.level_bits = 8 if normal else bits
        self.levels = reference.expanded(self.codes) if normal else self.codes

    def rows(self, what, kind, n):
        x = inputs.float_matrix(f"op {what} {kind} {self.suffix}", kind, n, self.dim + EXTRA_COLUMNS)
        return inputs.with_unusual_rows(kind, x)

    def scores(self, query_bits):
        return reference.score_ordered(self.queries, self.levels, self.dim, self.level_bits, self.limit, query_bits)


@pytest.fixture(
    scope="module",
    params=[(256, 4, False), (2, 4, False), (31, 8, False), (256, 8, False), (256, 4, True), (30, 4, True)],
    ids=lambda case: f"{case[0]}x{case[1]}{' normal' if case[2] else ''}",
)
def case(request):
    return Case(*request.param)


def digest(*arrays):
    state = inputs.FNV_START
    for array in arrays:
        state = inputs.fnv(array.tobytes(), state)
    return state


@pytest.mark.parametrize("kind", inputs.PARTS)
def test_pack(golden, case, kind):
    codes = reference.pack_ordered(case.rows("rows", kind, case.n), case.dim, case.level_bits, case.limit)
    codes = reference.to_normal(codes) if case.normal else codes
    assert digest(codes) == golden[f"op pack {kind} {case.suffix}"]


@pytest.mark.parametrize("kind", inputs.PARTS)
@pytest.mark.parametrize("what", ["refine", "refine metric"])
def test_refine(golden, case, what, kind):
    metric = inputs.metric_matrix(case.dim) if what == "refine metric" else None
    rows = case.rows("rows", kind, case.n)[:REFINED]
    codes, _ = reference.refine_ordered(rows, case.dim, case.bits, case.limit, metric, case.normal)
    assert digest(codes) == golden[f"op {what} {kind} {case.suffix}"]


def test_unpack(golden, case):
    levels = reference.levels_of(case.level_bits)
    steps = 2 * reference.from_bytes(case.levels, case.level_bits).astype(np.int32) - levels
    assert digest(steps.astype(np.float32) * np.float32(case.limit / levels)) == golden[f"op unpack {case.suffix}"]


@pytest.mark.parametrize("query_bits", [4, 8, 32])
def test_score_and_search(golden, case, query_bits):
    scores = case.scores(query_bits)
    assert digest(scores) == golden[f"op score {query_bits} {case.suffix}"]
    rows = np.arange(case.n)
    allowed = {
        "search": (10, None),
        "search mask": (100, rows[(rows % 3 == 0) | (rows // 100 % 4 == 1)]),
        "search list": (7, rows[rows % 17 == 5]),
    }
    for name, (k, allow) in allowed.items():
        best, where = reference.search(scores, k, allow)
        assert digest(best, where.astype(np.int64)) == golden[f"op {name} {query_bits} {case.suffix}"], name


def test_sketch(golden, case):
    data = reference.sketch(case.levels, case.dim, case.level_bits).copy()
    data[16] = case.bits
    assert digest(data) == golden[f"op sketch {case.suffix}"]


@pytest.mark.parametrize("query_bits", [8, 32])
def test_search_by_sketch(golden, case, query_bits):
    arguments = (case.queries, case.levels, case.dim, case.level_bits, case.limit, query_bits, WIDTH)
    best, where = reference.sketch_search(case.scores(query_bits), reference.sketch_bounds(*arguments), 10)
    assert digest(best, where.astype(np.int64)) == golden[f"op search sketch {query_bits} {case.suffix}"]
