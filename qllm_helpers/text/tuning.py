"""Contrastive fine-tuning of the encoder's body on the training sentences of a split.

The body is tuned by sentence-transformers' own trainer so that sentences of one label move
together; then the sentences of the split are encoded. A tuned body is a function of the weights
it starts from, the training sentences, their labels, the options and the seed, so the vectors are
kept in the cache folder under a digest of these and no result row tunes twice.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np

from qllm_helpers.files import cached_arrays, sha256
from qllm_helpers.text.bodies import body_identity
from qllm_helpers.text.contrastive import TuningOptions, tune
from qllm_helpers.text.corpora import load_texts
from qllm_helpers.text.encoders import (
    DEFAULT_ENCODER,
    load_encoder,
    resolve_precision,
    short_name,
    vectors_of,
)
from qllm_helpers.text.protocols import Split, few_shot_split, paper_split

FEW_SHOT_OPTIONS = TuningOptions()
# 14 steps of 32 are one pass through the 435 training sentences.
PAPER_OPTIONS = TuningOptions(loss="batch_all_triplet", steps=14, batch_size=32, lr=4e-5)


@dataclass(frozen=True)
class TunedEmbeddings:
    """Vectors of a split's sentences after tuning: training, validation, test, in this order.

    Row i of ``X`` (n, d; float32) belongs to label ``y[i]`` and to sentence ``positions[i]`` of the
    corpus; ``split`` holds the rows of the three parts.
    """

    X: np.ndarray
    y: np.ndarray
    split: Split
    positions: np.ndarray


def tune_few_shot(
    name: str = "sst2", seed: int = 0, *, samples_per_class: int = 8, **options
) -> TunedEmbeddings:
    """Fine-tuned embeddings of a corpus for the few-shot protocol (SST-2: 16 + 250 + 622 rows).

    The seed draws the training sentences, as ``few_shot_split`` does, and seeds the tuning;
    further arguments are those of :func:`tuned_vectors`. The recipe is that of
    the MerLin documentation, reproduction "QLLM fine tuning": 20 full-batch steps of the supervised
    contrastive loss at temperature 0.07 with Adam at 1e-5. The loop is the library's trainer, so
    dropout is active in the body and drawn from ``seed``.
    """
    texts = load_texts(name)
    split = few_shot_split(texts.labels, texts.split, seed, samples_per_class)
    return _tuned(texts, split, seed, **options)


def tune_paper(
    name: str = "sst2", seed: int = 0, *, samples_per_class: int = 256, **options
) -> TunedEmbeddings:
    """The same for the split of ``paper_split`` (SST-2: 435 + 77 + 9,101 rows).

    The paper says both that the body is frozen and that SetFit tuned it; this is the second
    reading. Default: one pass of the batch-all triplet loss in batches of 32 (our choice; the
    paper states none). The validation sentences take no part in the tuning.
    """
    texts = load_texts(name)
    split = paper_split(texts.labels, seed, samples_per_class=samples_per_class)
    return _tuned(texts, split, seed, **{"options": PAPER_OPTIONS} | options)


def tuned_vectors(
    texts: list[str],
    labels,
    others: list[str],
    *,
    seed: int,
    options: TuningOptions = FEW_SHOT_OPTIONS,
    encoder: str = DEFAULT_ENCODER,
    precision: str = "auto",
    progress: bool = False,
) -> np.ndarray:
    """Tune the body on some sentences, then encode these and others; cached.

    Needs at least two labels with two sentences each; the others have no influence on the tuning.
    The precision is that of :func:`qllm_helpers.text.encoders.encode`, here of training as well.
    Returns float32 (len(texts) + len(others), d). Raises ValueError for labels that do not fit,
    DataError if the encoder cannot be loaded or a cached result is damaged.
    """
    labels = np.asarray(labels).astype(np.int64)
    if len(texts) != len(labels):
        raise ValueError(f"got {len(texts)} sentences and {len(labels)} labels")
    if np.sum(np.unique(labels, return_counts=True)[1] > 1) < 2:
        raise ValueError("tuning needs at least two labels with two sentences each")

    encoder = short_name(encoder)
    precision = resolve_precision(precision, encoder)

    def compute() -> dict[str, np.ndarray]:
        model = load_encoder(encoder, progress)
        tune(model, texts, labels, seed, options, precision, progress)
        sentences = [*texts, *others]
        return {"X": vectors_of(model, encoder, sentences, precision, progress=progress)}

    key = _key(texts, labels, others, seed, options, encoder, precision)
    return cached_arrays("tuned", key, compute)["X"]


def _tuned(texts, split: Split, seed: int, **options) -> TunedEmbeddings:
    positions = np.concatenate([split.train, split.validation, split.test])
    sentences = [texts.texts[position] for position in positions]
    y, n_train = texts.labels[positions], len(split.train)
    X = tuned_vectors(sentences[:n_train], y[:n_train], sentences[n_train:], seed=seed, **options)
    ends = np.cumsum([n_train, len(split.validation)])
    return TunedEmbeddings(X, y, Split(*np.split(np.arange(len(positions)), ends)), positions)


def _key(texts, labels, others, seed, options, encoder: str, precision: str) -> str:
    import sentence_transformers
    import torch

    content = {
        "encoder": encoder,
        "weights": body_identity(encoder),
        "precision": precision,
        "train": [texts, labels.tolist()],
        "others": others,
        "seed": int(seed),
        "options": asdict(options),
        "versions": [sentence_transformers.__version__, torch.__version__],
    }
    return sha256(json.dumps(content, sort_keys=True).encode())
