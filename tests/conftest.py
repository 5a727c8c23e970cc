"""Files to damage, a small body in a folder, no network, and a refusal that must be quick."""

import shutil
import time
from contextlib import contextmanager

import pytest

from qllm_helpers import files
from qllm_helpers.text.corpora import shipped_file


@pytest.fixture
def data_copy(monkeypatch, tmp_path):
    """A copy of some shipped files that a test may damage."""
    target = tmp_path / "data"
    (target / "embeddings").mkdir(parents=True)
    for name in (shipped_file("trec"), files.MANIFEST_NAME, "duplicates.json", "bodies.toml"):
        shutil.copyfile(files.data_path(name), target / name)
    monkeypatch.setattr(files, "DATA_DIR", target)
    return target


@pytest.fixture
def refused_at_once():
    """A context in which a MemoryError must come within a second of processor time."""

    @contextmanager
    def within(message):
        start = time.process_time()
        with pytest.raises(MemoryError, match=message):
            yield
        assert time.process_time() - start < 1

    return within


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)


@pytest.fixture(scope="session")
def small_body(tmp_path_factory):
    """Folder with a sentence-transformers model of 16 dimensions and random weights."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("small")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "who",
        "where",
        "when",
        "a",
        "dull",
        "film",
        "fine",
        "joy",
    ]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(words), intermediate_size=32, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder / "bert")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    body = Transformer(str(folder / "bert"))
    model = SentenceTransformer(modules=[body, Pooling(16)], device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return str(folder / "model")
