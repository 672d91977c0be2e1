"""pack and unpack: every instruction set against the reference, bit for bit."""

import ml_dtypes
import numpy as np
import pytest
import reference
from guarded import Canaries, empty_guarded, guarded, misaligned
from shapes import FEW_FORMATS, FORMATS, ROWS, codec_of, random_codes, vectors
from test_reference import assert_within_boundaries

import frazil

FLOATS = [np.float32, np.float64, np.float16]


def expected(codec, x):
    return reference.pack_ordered(x, codec.dim, codec.bits, codec.limit)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("dim", "bits"), FORMATS)
def test_every_width(isa, dim, bits, dtype):
    codec, x = codec_of(dim, bits), vectors(19, dim + 3, dtype=dtype)
    np.testing.assert_array_equal(codec.pack(x), expected(codec, x))


@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize(("dim", "bits"), FEW_FORMATS)
def test_every_number_of_rows(isa, dim, bits, n):
    codec, x = codec_of(dim, bits), vectors(n, dim)
    codes = codec.pack(x)
    assert codes.shape == (n, codec.row_bytes)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, expected(codec, x))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("dim", "bits"), FORMATS)
def test_buffers_that_end_at_the_allocation(isa, dim, bits, dtype):
    codec, x = codec_of(dim, bits), vectors(3, dim, dtype=dtype)
    for at_end in (True, False):
        out = empty_guarded((3, codec.row_bytes), np.uint8, at_end=at_end)
        codec.pack(guarded(x, at_end=at_end), out=out)
        np.testing.assert_array_equal(out, expected(codec, x))
        decoded = empty_guarded((3, dim), np.float32, at_end=at_end)
        codec.unpack(guarded(out, at_end=at_end), out=decoded)
        np.testing.assert_array_equal(decoded, codec.unpack(out))


@pytest.mark.parametrize(("dim", "bits"), FEW_FORMATS)
def test_bfloat16_buffers_that_end_at_the_allocation(isa, dim, bits):
    codec, x = codec_of(dim, bits), vectors(3, dim, dtype=ml_dtypes.bfloat16)
    right = expected(codec, x.astype(np.float32))
    for at_end in (True, False):
        there = guarded(x.view(np.uint16), at_end=at_end)
        np.testing.assert_array_equal(codec.pack(there.view(x.dtype)), right)


@pytest.mark.parametrize(("dim", "bits"), FORMATS)
def test_nothing_is_written_past_the_output(isa, dim, bits):
    codec, x = codec_of(dim, bits), vectors(5, dim)
    codes, values = Canaries((5, codec.row_bytes), np.uint8), Canaries((5, dim), np.float32)
    assert codec.pack(x, out=codes.array) is codes.array
    assert codec.unpack(codes.array, out=values.array) is values.array
    codes.check()
    values.check()
    np.testing.assert_array_equal(codes.array, expected(codec, x))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("dim", "bits"), [(256, 4), (30, 4), (31, 8)])
def test_any_alignment(isa, dim, bits, dtype):
    codec, x = codec_of(dim, bits), vectors(4, dim, dtype=dtype)
    right = expected(codec, x)
    for offset in range(64):
        np.testing.assert_array_equal(codec.pack(misaligned(x, offset)), right)
        np.testing.assert_array_equal(codec.unpack(misaligned(right, offset)), codec.unpack(right))


VIEWS = {
    "every other row": lambda x: x[::2],
    "every other column": lambda x: x[:, ::2],
    "rows backwards": lambda x: x[::-1],
    "columns backwards": lambda x: x[:, ::-1],
    "Fortran order": np.asfortranarray,
    "columns from the middle": lambda x: x[:, 100:],
    "one row again and again": lambda x: np.broadcast_to(x[3], (9, x.shape[1])),
    "one value again and again": lambda x: np.broadcast_to(x[:, 5:6], x.shape),
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "field of a record": lambda x: np.rec.fromarrays([x, x.astype("i1")], names="x,y")["x"],
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("view", VIEWS)
def test_any_strides(isa, view, dtype):
    x = VIEWS[view](vectors(21, 600, dtype=dtype))
    for codec in (frazil.ARCTIC_INT4, frazil.ARCTIC_INT8):
        copy = np.ascontiguousarray(x).astype(dtype)
        np.testing.assert_array_equal(codec.pack(x), expected(codec, copy))


@pytest.mark.parametrize("codec", [frazil.ARCTIC_INT4, frazil.ARCTIC_INT8], ids=str)
def test_bfloat16(isa, codec):
    brain = vectors(20, 300).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(codec.pack(brain), expected(codec, brain.astype(np.float32)))
    np.testing.assert_array_equal(codec.pack(brain[::3, ::-1]), expected(codec, brain[::3, ::-1].astype(np.float32)))


def test_bfloat16_in_the_other_byte_order():
    brain = vectors(5, 256).astype(ml_dtypes.bfloat16)
    swapped = brain.astype(brain.dtype.newbyteorder())
    np.testing.assert_array_equal(swapped.astype(np.float32), brain.astype(np.float32))
    np.testing.assert_array_equal(frazil.ARCTIC_INT4.pack(swapped), frazil.ARCTIC_INT4.pack(brain))


@pytest.mark.parametrize("dtype", [*FLOATS, ml_dtypes.bfloat16])
def test_every_16_bit_pattern_widens(isa, dtype):
    codec = frazil.Codec(2, 8, 0.9)
    patterns = np.arange(65536, dtype=np.uint16)
    if np.dtype(dtype).itemsize != 2:
        x = patterns.astype(dtype)
    else:
        x = patterns.view(dtype)
        x = x[np.isfinite(x.astype(np.float32))]
    pairs = np.stack([x, x[::-1]], axis=1)
    wide = pairs.astype(np.float32) if pairs.dtype.itemsize == 2 else pairs
    np.testing.assert_array_equal(codec.pack(pairs), expected(codec, wide))


def test_a_single_vector(isa):
    x = vectors(1, 768)
    codes = frazil.ARCTIC_INT4.pack(x[0])
    assert codes.shape == (128,)
    np.testing.assert_array_equal(codes, frazil.ARCTIC_INT4.pack(x)[0])
    assert frazil.ARCTIC_INT4.unpack(codes).shape == (256,)
    np.testing.assert_array_equal(frazil.ARCTIC_INT4.pack(x[0].tolist()), frazil.ARCTIC_INT4.pack(x.astype("f8"))[0])


EXTREMES = [1e-45, 1e-40, 1e-30, 1e-18, 1e18, 1e30, 3e38]
DOUBLE_EXTREMES = [5e-324, 1e-300, 1e-160, 1e160, 1e300, 1.7e308]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dim", [2, 30, 256, 4096])
def test_values_of_any_size(isa, dim, bits):
    codec = codec_of(dim, bits)
    x = np.clip(vectors(8, dim), -1, 1)
    with np.errstate(under="ignore"):
        single = [(x * size).astype(np.float32) for size in EXTREMES]
        double = [x.astype(np.float64) * size for size in EXTREMES + DOUBLE_EXTREMES]
    for rows in single + double:
        np.testing.assert_array_equal(codec.pack(rows), expected(codec, rows))
        assert_within_boundaries(
            reference.from_bytes(codec.pack(rows), bits).astype(int),
            reference.positions(rows, dim, bits, codec.limit),
        )
    mixed = np.concatenate([x, *single, np.zeros((3, dim), np.float32), x])  # unusual rows between usual ones
    np.testing.assert_array_equal(codec.pack(mixed), expected(codec, mixed))
    one_large = x.copy()
    one_large[:, dim // 2] = 3e38
    np.testing.assert_array_equal(codec.pack(one_large), expected(codec, one_large))


@pytest.mark.parametrize("dtype", [*FLOATS, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("dim", "bits"), [(2, 4), (34, 4), (94, 4), (3, 8), (31, 8), (65, 8), (127, 8)])
def test_not_finite_in_any_place(isa, dim, bits, dtype):
    codec = frazil.Codec(dim, bits)
    for column in range(dim):
        x = np.ones((3, dim + 2)).astype(dtype)
        x[1, column] = (np.nan, np.inf, -np.inf)[column % 3]
        with pytest.raises(ValueError, match="x: row 1 holds NaN or infinity"):
            codec.pack(x)
        with pytest.raises(ValueError, match="x: row 0 holds NaN or infinity"):
            codec.pack(x[1])
        zeros = np.zeros((1, dim)).astype(dtype)  # a NaN among them must not be lost on the way to a zero row
        zeros[0, column] = x[1, column]
        with pytest.raises(ValueError, match="x: row 0 holds NaN or infinity"):
            codec.pack(zeros)
        x[:, dim:] = x[1, column]  # never read
        assert (codec.pack(x[::2]) == codec.pack(x[0])).all()


def test_zero_rows(isa):
    for zero in (0.0, -0.0):
        rows = np.full((3, 256), zero, np.float32)
        assert (frazil.ARCTIC_INT4.pack(rows) == 0x88).all()
        assert (frazil.ARCTIC_INT8.pack(rows) == 128).all()
        assert (frazil.ARCTIC_INT8.pack(rows.astype(np.float64)) == 128).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bits", [4, 8])
def test_values_at_rounding_boundaries(isa, bits, dtype):
    """Rows of norm 1 whose values lie on, and next to, the boundaries between codes."""
    limit = 0.5
    codec = frazil.Codec(4, bits, limit)
    boundaries = (np.arange(1, codec.levels + 1) - 0.5) * codec.step - limit  # includes 0
    near = np.concatenate([boundaries, np.nextafter(boundaries, 1), np.nextafter(boundaries, -1)])
    rest = np.sqrt((1 - near**2) / 3)
    x = np.stack([near, rest, -rest, rest], axis=1).astype(dtype)
    np.testing.assert_array_equal(codec.pack(x), expected(codec, x))


@pytest.mark.parametrize("dim", [30, 100, 256])
@pytest.mark.parametrize("bits", [4, 8])
def test_rows_that_the_last_bit_of_the_sum_of_squares_decides(isa, bits, dim):
    """Adding the squares in any other order, or fusing them, gives other codes for some of these rows."""
    codec = frazil.Codec(dim, bits, 0.29)  # levels / (2 * limit) is not 1 / step here
    assert codec.levels / (2 * codec.limit) != 1 / codec.step
    x = vectors(200, dim, dtype=np.float64)
    codes = np.random.default_rng(dim).integers(codec.levels // 4, 3 * codec.levels // 4, len(x))
    boundaries = (codes + 0.5) * codec.step - codec.limit
    x[:, 0] = boundaries * np.sqrt(np.sum(x[:, 1:] ** 2, axis=1) / (1 - boundaries**2))
    x = np.concatenate([x] * 9)
    x[:, 0] += np.repeat(np.arange(-4, 5), 200) * np.spacing(x[:, 0])
    in_order, norms = expected(codec, x), np.sqrt(np.add.accumulate(x * x, axis=1)[:, -1:])
    one_by_one = np.rint(x * (codec.levels / (2 * codec.limit) / norms) - 0.5) + 2 ** (bits - 1)
    assert (reference.to_bytes(np.clip(one_by_one, 0, codec.levels), bits) != in_order).any()
    np.testing.assert_array_equal(codec.pack(x), in_order)


@pytest.mark.parametrize("bits", [4, 8])
def test_rows_that_the_last_bit_of_the_scale_decides(isa, bits):
    """With 4 bits the scale is one float, with 8 two; done the other way, some of these codes are others."""
    codec = codec_of(32, bits)
    x = vectors(4000, 32)
    codes = np.random.default_rng(bits).integers(codec.levels // 4, 3 * codec.levels // 4, len(x))
    boundaries = (codes + 0.5) * codec.step - codec.limit
    rest = np.sum(np.square(x[:, 1:], dtype=np.float64), axis=1)
    x[:, 0] = boundaries * np.sqrt(rest / (1 - boundaries**2))
    scale = codec.levels / (2 * codec.limit) / np.sqrt(reference.sum_of_squares(x.astype(np.float64)))
    high = scale.astype(np.float32)
    low = np.float32(0) if bits == 8 else (scale - high).astype(np.float32)
    otherwise = np.rint(x[:, 0] * high + (x[:, 0] * low - np.float32(0.5))) + 2 ** (bits - 1)
    in_order = expected(codec, x)
    assert (otherwise != reference.from_bytes(in_order, bits)[:, 0]).any()
    np.testing.assert_array_equal(codec.pack(x), in_order)


@pytest.mark.parametrize("limit", [1e-6, 1e-3, 0.05, 1.0, 1e6])
@pytest.mark.parametrize("bits", [4, 8])
def test_any_limit(isa, bits, limit):
    codec = frazil.Codec(64, bits, limit)
    for dtype in FLOATS:
        x = vectors(50, 64, dtype=dtype)
        np.testing.assert_array_equal(codec.pack(x), expected(codec, x))
        np.testing.assert_allclose(
            codec.unpack(codec.pack(x)), reference.unpack(codec.pack(x), bits, limit), rtol=3e-7, atol=limit * 1e-9
        )


@pytest.mark.parametrize(("dim", "bits"), FORMATS)
def test_unpack(isa, dim, bits):
    codec = codec_of(dim, bits)
    for n in (0, 1, 2, 17):
        rows = random_codes(n, codec)
        codes = reference.from_bytes(rows, bits).astype(np.int64)
        half_step = np.float32(codec.limit / codec.levels)
        right = (2 * codes - codec.levels).astype(np.float32) * half_step
        np.testing.assert_array_equal(codec.unpack(rows), right)
        np.testing.assert_allclose(right, reference.unpack(rows, bits, codec.limit), atol=1e-7)
    wide = random_codes(40, frazil.Codec(2 * dim if dim <= 2048 else dim, bits, 0.5))
    rows = wide[::3, : codec.row_bytes]
    np.testing.assert_array_equal(codec.unpack(rows), codec.unpack(rows.copy()))
    np.testing.assert_array_equal(codec.unpack(rows[:, ::-1]), codec.unpack(rows[:, ::-1].copy()))


@pytest.mark.parametrize("codec", [frazil.ARCTIC_INT4, frazil.ARCTIC_INT8], ids=str)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_hundred_thousand_vectors_against_the_formula(codec, dtype):
    x = vectors(100_000, 256, seed=7, dtype=dtype)
    check_formula(codec, x)


@pytest.mark.parametrize("codec", [frazil.ARCTIC_INT4, frazil.ARCTIC_INT8], ids=str)
def test_real_embeddings_against_the_formula(collections, codec):
    for _, documents, queries in collections:
        check_formula(codec, documents)
        check_formula(codec, queries)


def check_formula(codec, x):
    for start in range(0, len(x), 20_000):
        part = x[start : start + 20_000]
        rows = codec.pack(part)
        np.testing.assert_array_equal(rows, expected(codec, part))
        codes = reference.from_bytes(rows, codec.bits).astype(int)
        assert_within_boundaries(codes, reference.positions(part, codec.dim, codec.bits, codec.limit))
