"""The golden digests of the native tests are the reference's: whole operations, on the same inputs, by NumPy."""

from pathlib import Path

import native_inputs as inputs
import numpy as np
import pytest
import reference

GOLDEN = Path(__file__).parent / "native" / "golden" / "operations.txt"
QUERIES, EXTRA_COLUMNS, WIDTH, REFINED = 9, 3, 3.0, 600


@pytest.fixture(scope="module")
def golden():
    lines = [line.rsplit(" ", 1) for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    return {name: int(digest, 16) for name, digest in lines}


class Case:
    """The inputs of one format's operations."""

    def __init__(self, dim, bits):
        self.dim, self.bits, self.limit = dim, bits, inputs.limit_of(dim)
        self.suffix = f"int{bits} {dim}"
        row_bytes = dim * bits // 8
        self.n = min(300000 // row_bytes, 5000) + 700
        self.codes = inputs.code_rows(f"op codes {self.suffix}", self.n, row_bytes)
        self.queries = self.rows("queries", "single", QUERIES)

    def rows(self, what, kind, n):
        x = inputs.float_matrix(f"op {what} {kind} {self.suffix}", kind, n, self.dim + EXTRA_COLUMNS)
        return inputs.with_unusual_rows(kind, x)

    def scores(self, query_bits):
        return reference.score_ordered(self.queries, self.codes, self.dim, self.bits, self.limit, query_bits)


@pytest.fixture(scope="module", params=[(256, 4), (2, 4), (31, 8), (256, 8)], ids="{0[0]}x{0[1]}".format)
def case(request):
    return Case(*request.param)


def digest(*arrays):
    state = inputs.FNV_START
    for array in arrays:
        state = inputs.fnv(array.tobytes(), state)
    return state


@pytest.mark.parametrize("kind", inputs.PARTS)
def test_pack(golden, case, kind):
    codes = reference.pack_ordered(case.rows("rows", kind, case.n), case.dim, case.bits, case.limit)
    assert digest(codes) == golden[f"op pack {kind} {case.suffix}"]


@pytest.mark.parametrize("kind", inputs.PARTS)
@pytest.mark.parametrize("what", ["refine", "refine metric"])
def test_refine(golden, case, what, kind):
    metric = inputs.metric_matrix(case.dim) if what == "refine metric" else None
    rows = case.rows("rows", kind, case.n)[:REFINED]
    codes, _ = reference.refine_ordered(rows, case.dim, case.bits, case.limit, metric)
    assert digest(codes) == golden[f"op {what} {kind} {case.suffix}"]


def test_unpack(golden, case):
    levels = reference.levels_of(case.bits)
    steps = 2 * reference.from_bytes(case.codes, case.bits).astype(np.int32) - levels
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
    assert digest(reference.sketch(case.codes, case.dim, case.bits)) == golden[f"op sketch {case.suffix}"]


@pytest.mark.parametrize("query_bits", [8, 32])
def test_search_by_sketch(golden, case, query_bits):
    arguments = (case.queries, case.codes, case.dim, case.bits, case.limit, query_bits, WIDTH)
    best, where = reference.sketch_search(case.scores(query_bits), reference.sketch_bounds(*arguments), 10)
    assert digest(best, where.astype(np.int64)) == golden[f"op search sketch {query_bits} {case.suffix}"]
