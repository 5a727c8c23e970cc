"""Contrastive fine-tuning of the encoder's body on the training sentences of a split.

A tuned body is a function of its weights, the sentences and labels, the options and the seed: the
vectors are cached under a digest of these, and no result row tunes twice.
"""

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np

from qllm_helpers import checks
from qllm_helpers.files import cached_arrays, sha256
from qllm_helpers.text.corpora import Texts
from qllm_helpers.text.encoders import (
    DEFAULT_ENCODER,
    MINILM,
    autocast,
    body_identity,
    load_encoder,
    resolve_precision,
    short_name,
    vectors_of,
)
from qllm_helpers.text.protocols import Split

LOSSES = ("supervised_contrastive", "batch_all_triplet", "cosine_pairs")


@dataclass(frozen=True)
class TuningOptions:
    """A loss, steps and sentences a step (None: all), Adam's learning rate, loss temperature.

    The loss is that of Khosla et al. 2020, equation 2, or one of sentence-transformers': triplets,
    or cosines of SetFit's pairs (Tunstall et al. 2022), two sentences each.
    """

    loss: str = "supervised_contrastive"
    steps: int = 20
    batch_size: int | None = None
    lr: float = 1e-5
    temperature: float = 0.07

    def __post_init__(self) -> None:
        checks.choice("loss", self.loss, LOSSES)
        checks.integer("steps", self.steps)
        if self.batch_size is not None:
            checks.integer("batch_size", self.batch_size, 2)
        checks.real("lr", self.lr, open_below=True)
        checks.real("temperature", self.temperature, open_below=True)


FEW_SHOT_OPTIONS = TuningOptions()
# 14 steps of 32 are one pass through the 435 training sentences. MiniLM wants twice the rate.
PAPER_OPTIONS = TuningOptions(loss="batch_all_triplet", steps=14, batch_size=32, lr=2e-5)


def tuned_vectors(texts: list[str], labels, others: list[str], **recipe) -> np.ndarray:
    """Tune the body on texts, then encode these and the others: float32 (n, d), cached.

    The recipe is that of `tuned_stages`, with the steps of its options.
    """
    steps = recipe.get("options", FEW_SHOT_OPTIONS).steps
    return tuned_stages(texts, labels, others, (steps,), **recipe)[0]


def tuned_stages(
    texts: list[str],
    labels,
    others: list[str],
    stages: Sequence[int],
    *,
    seed: int,
    options: TuningOptions = FEW_SHOT_OPTIONS,
    encoder: str = DEFAULT_ENCODER,
    precision: str = "auto",
) -> list[np.ndarray]:
    """What `tuned_vectors` gives after each of some numbers of steps, in one run.

    The rate is constant, so that a shorter run is the beginning of a longer one. Needs two labels
    with two sentences each. The precision is that of training as well.
    """
    import sentence_transformers
    import torch

    labels = np.asarray(labels).astype(np.int64)
    if len(texts) != len(labels):
        raise ValueError(f"got {len(texts)} sentences and {len(labels)} labels")
    if np.sum(np.unique(labels, return_counts=True)[1] > 1) < 2:
        raise ValueError("tuning needs at least two labels with two sentences each")
    encoder = short_name(encoder)
    precision = resolve_precision(precision, encoder)
    options = replace(options, steps=max(stages))
    about = {"encoder": encoder, "weights": body_identity(encoder), "precision": precision}
    about |= {"train": [texts, labels.tolist()], "others": others, "seed": int(seed)}
    about |= {"options": asdict(options), "stages": list(stages)}
    about |= {"versions": [sentence_transformers.__version__, torch.__version__]}

    def compute() -> dict[str, np.ndarray]:
        model, kept = load_encoder(encoder), {}

        def keep(steps: int) -> None:
            if steps in stages:
                kept[str(steps)] = vectors_of(model, encoder, [*texts, *others], precision)

        tune(model, texts, labels, seed, options, precision, keep)
        return kept

    key = sha256(json.dumps(about, sort_keys=True).encode())
    kept = cached_arrays("tuned", key, compute)
    return [kept[str(steps)] for steps in stages]


def tune_split(
    texts: Texts, split: Split, seed: int, protocol: str, encoder: str = DEFAULT_ENCODER
) -> tuple[np.ndarray, np.ndarray]:
    """Tuned vectors (n, d; float32) of training, validation, test part; positions in the corpus.

    The recipe is a protocol's; the seed draws batches and dropout. Few-shot: that of the MerLin
    documentation's reproduction "QLLM fine tuning". The paper tunes the body in one place (in
    another: a frozen body) and states no recipe; one pass of the triplet loss is our choice.
    """
    options = PAPER_OPTIONS if protocol == "paper" else FEW_SHOT_OPTIONS
    if options == PAPER_OPTIONS and short_name(encoder) == MINILM:
        options = replace(options, lr=4e-5)
    positions = np.concatenate([split.train, split.validation, split.test])
    sentences = [texts.texts[position] for position in positions]
    known, others = sentences[: len(split.train)], sentences[len(split.train) :]
    recipe = {"seed": seed, "options": options, "encoder": encoder}
    return tuned_vectors(known, texts.labels[split.train], others, **recipe), positions


def supervised_contrastive(vectors, labels, temperature: float):
    """Khosla et al. 2020, equation 2, of vectors (n, d) and labels (n,), a scalar.

    The mean over the vectors that have a partner of the same label; only directions matter.
    """
    import torch

    vectors = torch.nn.functional.normalize(vectors, dim=1)
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    similarity = (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)
    log_share = (similarity - similarity.logsumexp(dim=1, keepdim=True)).masked_fill(itself, 0.0)
    partner = (labels[:, None] == labels[None, :]) & ~itself
    n_partners = partner.sum(dim=1)
    per_sentence = -(log_share * partner).sum(dim=1) / n_partners.clamp(min=1)
    return per_sentence[n_partners > 0].mean()


def tune(
    model,
    texts: list[str],
    labels,
    seed: int,
    options: TuningOptions,
    precision: str,
    keep: Callable[[int], None] = lambda steps: None,
):
    """Tune a model in place; the precision is that of the forward pass, losses are float32.

    After each step `keep` is called with their number, and may use the model.
    """
    from sentence_transformers import SentenceTransformerTrainer
    from transformers.trainer_callback import PrinterCallback, TrainerCallback

    class Trainer(SentenceTransformerTrainer):
        def add_model_card_callback(self, default_args_dict) -> None:
            """None: the tuned body is not published, and the card draws progress bars."""

    class Keep(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs) -> None:
            keep(state.global_step)
            model.train()

    with isolated_randomness(seed), tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=_arguments(folder, len(texts), seed, options),
            train_dataset=_dataset(texts, labels.tolist(), options),
            loss=_loss(model, options, precision),
            callbacks=[Keep()],
        )
        # Without its progress bar the trainer prints every log entry instead.
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()


def _dataset(texts: list[str], labels: list[int], options: TuningOptions):
    """What a step draws from: sentences with labels, or all pairs with 1 (alike) or 0."""
    from datasets import Dataset

    if options.loss != "cosine_pairs":
        return Dataset.from_dict({"sentence": texts, "label": labels})
    from setfit.sampler import ContrastiveDataset

    # as many alike as not: the rarer kind is repeated
    return Dataset.from_list([*ContrastiveDataset(texts, labels, multilabel=False)])


def _arguments(folder: str, n_sentences: int, seed: int, options: TuningOptions):
    from sentence_transformers.sentence_transformer import training_args

    rows = 2 if options.loss == "cosine_pairs" else 1
    return training_args.SentenceTransformerTrainingArguments(
        output_dir=folder,
        max_steps=options.steps,
        per_device_train_batch_size=(options.batch_size or n_sentences) // rows,
        learning_rate=options.lr,
        lr_scheduler_type="constant",
        # AdamW without weight decay is Adam.
        optim="adamw_torch",
        weight_decay=0.0,
        max_grad_norm=0.0,
        seed=seed,
        data_seed=seed,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _loss(model, options: TuningOptions, precision: str):
    import torch
    from sentence_transformers.sentence_transformer import losses

    triplet = losses.BatchAllTripletLoss(None).batch_all_triplet_loss
    cosine = losses.CosineSimilarityLoss(None).compute_loss_from_embeddings

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, features, labels):
            with autocast(precision):
                columns = [self.model(one)["sentence_embedding"].float() for one in features]
            if options.loss == "cosine_pairs":
                return cosine(columns, labels)
            if options.loss == "batch_all_triplet":
                return triplet(labels, columns[0])
            return supervised_contrastive(columns[0], labels, options.temperature)

    return Loss()


@contextmanager
def isolated_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators, which trainers draw from, then put back their states."""
    import torch

    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
