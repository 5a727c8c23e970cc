"""`PhotonicClassifier` on an imperfect machine: trained ideally or in place, tested with noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qllm_helpers.classifiers.estimators import PhotonicClassifier
from qllm_helpers.classifiers.replicated import plain_fields
from qllm_helpers.heads.base import Head, select_replica
from qllm_helpers.heads.photonic import NoisyPhotonicHead
from qllm_helpers.photons.noise import Noise

__all__ = ["NoisyPhotonicClassifier", "count_ideal"]


@dataclass(eq=False, repr=False)
class NoisyPhotonicClassifier(plain_fields(Noise), PhotonicClassifier):
    """A photonic head that predicts with imperfections and shots, whatever it was trained with.

    Unless ``noise_in_training``, training and the choice of the best epoch know nothing of the
    noise: the frozen weights are those of a `PhotonicClassifier` with the same seed, bit for bit.
    Errors and shots come from `random_state`; predicting twice gives the same labels.

    Parameters
    ----------
    brightness, transmittance, indistinguishability, g2, phase_error, phase_imprecision : float
        See `qllm_helpers.photons.noise.Noise`.
    detector : {"number", "threshold"}
    post_select : bool
    n_shots : int or None
        Attempts for every sentence; None for infinitely many.
    noise_in_training : bool
        Whether training, too, sees noise and shots (with the gradient of infinitely many shots);
        the validation accuracy is then that of the noisy head.
    others
        Those of `PhotonicClassifier`.
    """

    n_shots: int | None = None
    noise_in_training: bool = False

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        """Return the noisy head, untrained; its noise sleeps unless training sees it."""
        noise = Noise(**{name: getattr(self, name) for name in Noise.__dataclass_fields__})
        options = {"noise": noise, "n_shots": self.n_shots} | self._circuit()
        head = NoisyPhotonicHead(n_features, n_classes, n_replicas=n_replicas, **options)
        head.quantum.active = self.noise_in_training
        return head

    def _set_fitted(self, head, classes, result, r: int) -> None:
        """Store the outcome of replica `r`, and wake the noise."""
        super()._set_fitted(head, classes, result, r)
        head.quantum.active = True

    def ideal(self) -> PhotonicClassifier:
        """The fitted classifier with the same weights on a perfect machine."""
        fields = PhotonicClassifier.__dataclass_fields__
        twin = PhotonicClassifier(**{name: getattr(self, name) for name in fields})
        twin.__dict__.update({k: v for k, v in self.__dict__.items() if k.endswith("_")})
        twin.module_ = select_replica(self.module_, 0).ideal()
        return twin


def count_ideal(fit: NoisyPhotonicClassifier, X: np.ndarray):
    """Parameters of the ideal head with the same weights: noise adds none.

    Parameters
    ----------
    fit : NoisyPhotonicClassifier
        Fitted.
    X : array, shape (n, d)
        Data; the first 512 samples show which parameters are live, as in every study.

    Returns
    -------
    ParameterCount
    """
    from qllm_helpers.heads.parameters import (
        PartCount,
        count_parameters,
        effective_parameters,
        live_parameters,
    )

    ideal = fit.ideal()
    live = live_parameters(ideal.module_, X[:512])
    return replace(
        count_parameters(ideal),
        live=PartCount(sum(int(mask.sum()) for mask in live.values())),
        effective=effective_parameters(ideal.module_, X, live),
    )
