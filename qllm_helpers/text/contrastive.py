"""Contrastive training of a body with sentence-transformers' trainer: options, losses, set-up."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from qllm_helpers import checks
from qllm_helpers.text.encoders import autocast

LOSSES = ("supervised_contrastive", "batch_all_triplet")


@dataclass(frozen=True)
class TuningOptions:
    """How the body is tuned.

    Attributes
    ----------
    loss : str
        ``"supervised_contrastive"`` (Khosla et al. 2020, equation 2) or ``"batch_all_triplet"``
        (``BatchAllTripletLoss`` of sentence-transformers).
    steps : int
        Optimizer steps.
    batch_size : int or None
        Sentences a step; None takes all training sentences at once.
    lr : float
        Learning rate of Adam, constant, without weight decay or gradient clipping.
    temperature : float
        Divides the cosine similarities in the supervised contrastive loss.
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


def supervised_contrastive(vectors, labels, temperature: float):
    """Supervised contrastive loss of a batch (Khosla et al. 2020, equation 2), a scalar.

    The mean over those of the vectors (n, d) that have a partner of the same label (n,); only
    directions matter.
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
    model, texts: list[str], labels, seed: int, options: TuningOptions, precision: str, progress
):
    """Tune a sentence-transformers model in place; the seed draws dropout and batches.

    The precision, float32 or bfloat16, is that of the body's forward pass; losses are float32.
    """
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer
    from transformers.trainer_callback import PrinterCallback

    class Trainer(SentenceTransformerTrainer):
        def add_model_card_callback(self, default_args_dict) -> None:
            """None: the tuned body is not published, and the card draws progress bars."""

    sentences = Dataset.from_dict({"sentence": texts, "label": labels.tolist()})
    with isolated_randomness(seed), tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=_arguments(folder, len(texts), seed, options, progress),
            train_dataset=sentences,
            loss=_loss(model, options, precision),
        )
        # Without its progress bar the trainer prints every log entry instead.
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()


def _arguments(folder: str, n_sentences: int, seed: int, options: TuningOptions, progress: bool):
    from sentence_transformers.sentence_transformer.training_args import (
        SentenceTransformerTrainingArguments,
    )

    return SentenceTransformerTrainingArguments(
        output_dir=folder,
        max_steps=options.steps,
        per_device_train_batch_size=options.batch_size or n_sentences,
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
        disable_tqdm=not progress,
        dataloader_pin_memory=False,
    )


def _loss(model, options: TuningOptions, precision: str):
    import torch
    from sentence_transformers.sentence_transformer.losses import BatchAllTripletLoss

    triplet = BatchAllTripletLoss(None).batch_all_triplet_loss

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, features, labels):
            with autocast(precision):
                vectors = self.model(next(iter(features)))["sentence_embedding"].float()
            if options.loss == "batch_all_triplet":
                return triplet(labels, vectors)
            return supervised_contrastive(vectors, labels, options.temperature)

    return Loss()


@contextmanager
def isolated_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators for a while, then put back the states they had.

    The trainer draws dropout and batches from Python's, NumPy's and torch's global generators.
    """
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
