"""`PhotonicClassifier` on an imperfect machine: trained ideally or in place, tested with noise."""

from __future__ import annotations

from dataclasses import replace

from qllm_helpers.classifiers.estimators import PhotonicClassifier
from qllm_helpers.heads.base import Head, select_replica
from qllm_helpers.heads.parameters import (
    ParameterCount,
    PartCount,
    count_parameters,
    effective_parameters,
    live_parameters,
)
from qllm_helpers.heads.photonic import NoisyPhotonicHead
from qllm_helpers.photons.noise import Noise


class NoisyPhotonicClassifier(PhotonicClassifier):
    """A photonic head that predicts with imperfections and shots, whatever it was trained with.

    Unless ``noise_in_training``, the weights are those of a `PhotonicClassifier` with the same
    seed, bit for bit; with it, training (with the gradient of infinitely many shots) and validation
    see the noise. Errors and shots come from `random_state`: predicting twice gives the same.
    Parameters are those of `PhotonicClassifier` and `qllm_helpers.photons.noise.Noise`, and
    `n_shots`, the attempts for every sentence; None for infinitely many.
    """

    brightness: float = 1.0
    transmittance: float = 1.0
    indistinguishability: float = 1.0
    g2: float = 0.0
    phase_error: float = 0.0
    phase_imprecision: float = 0.0
    detector: str = "number"
    post_select: bool = True
    n_shots: int | None = None
    noise_in_training: bool = False

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        noise = Noise(**self._parameters(Noise.__dataclass_fields__))
        options = {"noise": noise, "n_shots": self.n_shots} | self._circuit()
        head = NoisyPhotonicHead(n_features, n_classes, n_replicas=n_replicas, **options)
        head.quantum.active = self.noise_in_training
        return head

    def _set_fitted(self, head, classes, result, r: int = 0) -> None:
        super()._set_fitted(head, classes, result, r)
        head.quantum.active = True

    def ideal(self) -> PhotonicClassifier:
        """The fitted classifier with the same weights on a perfect machine."""
        twin = PhotonicClassifier(**self._parameters(PhotonicClassifier._get_param_names()))
        twin.__dict__.update({k: v for k, v in self.__dict__.items() if k.endswith("_")})
        twin.module_ = select_replica(self.module_, 0).ideal()
        return twin

    def count_parameters(self, X) -> ParameterCount:
        """Parameters of the ideal head; 512 samples of X show which are live, as in a study."""
        ideal = self.ideal()
        live = live_parameters(ideal.module_, X[:512])
        return replace(
            count_parameters(ideal),
            live=PartCount(sum(int(mask.sum()) for mask in live.values())),
            effective=effective_parameters(ideal.module_, X, live),
        )
