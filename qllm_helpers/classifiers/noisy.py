"""`PhotonicClassifier` on an imperfect machine: trained ideally or in place, tested with noise."""

from __future__ import annotations

from dataclasses import replace

from qllm_helpers.classifiers.estimators import PhotonicClassifier
from qllm_helpers.heads.base import Head, select_replica
from qllm_helpers.heads.noisy import NoisyPhotonicHead
from qllm_helpers.heads.parameters import (
    ParameterCount,
    PartCount,
    count_parameters,
    effective_parameters,
    live_parameters,
)
from qllm_helpers.photons.noise import Noise


class NoisyPhotonicClassifier(PhotonicClassifier):
    """A photonic head that predicts with imperfections and shots, whatever it was trained with.

    Unless ``noise_in_training``, training and the choice of the best epoch know nothing of the
    noise: the frozen weights are those of a `PhotonicClassifier` with the same seed, bit for bit.
    With it, training sees noise and shots too (with the gradient of infinitely many shots), and the
    validation accuracy is that of the noisy head. Errors and shots come from `random_state`;
    predicting twice gives the same labels.

    Parameters are those of `PhotonicClassifier` and `qllm_helpers.photons.noise.Noise`, and
    `n_shots`, the attempts for every sentence; None for infinitely many.
    """

    def __init__(
        self,
        n_modes: int = 8,
        n_photons: int = 2,
        encoding: str = "dense",
        hidden_dim: int | None = None,
        space: str = "fock",
        readout: str = "probabilities",
        twin: str | None = None,
        n_encoders: int | None = None,
        input_state: tuple | None = None,
        brightness: float = 1.0,
        transmittance: float = 1.0,
        indistinguishability: float = 1.0,
        g2: float = 0.0,
        phase_error: float = 0.0,
        phase_imprecision: float = 0.0,
        detector: str = "number",
        post_select: bool = True,
        n_shots: int | None = None,
        noise_in_training: bool = False,
        *,
        epochs: int = 60,
        lr: float = 5e-3,
        batch_size: int = 32,
        weight_decay: float = 0.0,
        patience: int | None = None,
        device: str = "cpu",
        progress: bool = False,
        random_state=None,
    ):
        self._store(locals())

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        """The noisy head, untrained; its noise sleeps unless training sees it."""
        noise = Noise(**self._parameters(Noise.__dataclass_fields__))
        options = {"noise": noise, "n_shots": self.n_shots} | self._circuit()
        head = NoisyPhotonicHead(n_features, n_classes, n_replicas=n_replicas, **options)
        head.quantum.active = self.noise_in_training
        return head

    def _set_fitted(self, head, classes, result, r: int = 0) -> None:
        """Store the outcome of replica `r`, and wake the noise."""
        super()._set_fitted(head, classes, result, r)
        head.quantum.active = True

    def ideal(self) -> PhotonicClassifier:
        """The fitted classifier with the same weights on a perfect machine."""
        twin = PhotonicClassifier(**self._parameters(PhotonicClassifier._get_param_names()))
        twin.__dict__.update({k: v for k, v in self.__dict__.items() if k.endswith("_")})
        twin.module_ = select_replica(self.module_, 0).ideal()
        return twin

    def count_parameters(self, X) -> ParameterCount:
        """Parameters of the ideal head with the same weights: noise adds none.

        The first 512 samples of X (n, d) show which parameters are live, as in every study.
        """
        ideal = self.ideal()
        live = live_parameters(ideal.module_, X[:512])
        return replace(
            count_parameters(ideal),
            live=PartCount(sum(int(mask.sum()) for mask in live.values())),
            effective=effective_parameters(ideal.module_, X, live),
        )
