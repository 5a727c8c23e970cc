"""Feature maps that are not trained: a photonic one as a kernel, and random Fourier features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from qllm_helpers import checks
from qllm_helpers.classifiers.replicated import number_labels
from qllm_helpers.heads.parameters import ParameterCount, count_parameters
from qllm_helpers.photons.layer import PhotonicLayer


@dataclass(eq=False, repr=False)
class PhotonicKernelClassifier(ClassifierMixin, BaseEstimator):
    """SVC whose kernel is the overlap |<psi(x)|psi(x')>|^2 of n-photon states.

    Each of m principal components (our choice; the MerLin reproduction does not state its own),
    scaled to a standard deviation of `scale` radians, is the phase of a mode behind an
    interferometer that `random_state` draws. `C` regularises the SVC; nothing else is trained.
    """

    family = "photonic"

    n_modes: int = 8
    n_photons: int = 2
    C: float = 1.0
    scale: float = 1.0
    random_state: int | np.random.RandomState | None = None

    def fit(self, X, y):
        """Fit on X (n, d) and y (n,). Raises ValueError for impossible circuits, sizes or data."""
        layer = PhotonicLayer(self.n_modes, self.n_photons).double()
        checks.real("scale", self.scale, open_below=True)
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_, *_ = number_labels(y, None, None)
        seed = int(check_random_state(self.random_state).randint(2**31))
        layer.reset_parameters([torch.Generator().manual_seed(seed)])
        components = min(self.n_modes, *X.shape)
        self.pca_ = PCA(n_components=components, whiten=True, svd_solver="full").fit(X)
        self.layer_ = layer
        self._states = self._encode(X)
        self.svc_ = SVC(kernel="precomputed", C=self.C).fit(self._overlaps(self._states), y)
        return self

    @torch.no_grad()
    def _encode(self, X: np.ndarray) -> np.ndarray:
        """Amplitudes (n, N) of the samples' states; modes without a component get phase 0."""
        phases = np.zeros((len(X), self.layer_.n_modes))
        phases[:, : self.pca_.n_components_] = self.scale * self.pca_.transform(X)
        return self.layer_.amplitudes(torch.from_numpy(phases)[None])[0].numpy()

    def _overlaps(self, states: np.ndarray) -> np.ndarray:
        return np.abs(states @ self._states.conj().T) ** 2

    def kernel(self, X) -> np.ndarray:
        """Overlaps (k, n), in [0, 1], of samples X (k, d) with the training samples."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self._overlaps(self._encode(X))

    def predict(self, X) -> np.ndarray:
        """Class labels, shape (k,)."""
        overlaps = self.kernel(X)  # refuses before `svc_` is asked for
        return self.svc_.predict(overlaps)

    def count_parameters(self, X) -> ParameterCount:
        """Parameters of the SVC: nothing else is trained."""
        return count_parameters(self.svc_, self.kernel(X))


@dataclass(eq=False, repr=False)
class FourierClassifier(ClassifierMixin, BaseEstimator):
    """Logistic regression on random Fourier features (Rahimi and Recht 2007): a classical twin.

    `n_components` cosines of random directions stand for as many outputs of a circuit.
    """

    family = "twin"

    n_components: int = 36
    gamma: float = 1.0
    C: float = 1.0
    random_state: int | np.random.RandomState | None = None

    def fit(self, X, y):
        """Fit on X (n, d) and y (n,)."""
        sampler = RBFSampler(
            gamma=self.gamma, n_components=self.n_components, random_state=self.random_state
        )
        X, y = validate_data(self, X, y)
        readout = LogisticRegression(C=self.C, max_iter=5000)
        self.pipeline_ = make_pipeline(sampler, readout).fit(X, y)
        self.classes_ = self.pipeline_.classes_
        return self

    def predict_proba(self, X) -> np.ndarray:
        """Class probabilities (k, C)."""
        check_is_fitted(self)
        return self.pipeline_.predict_proba(validate_data(self, X, reset=False))

    def predict(self, X) -> np.ndarray:
        """Class labels, shape (k,)."""
        chosen = self.predict_proba(X).argmax(1)
        return self.classes_[chosen]

    def count_parameters(self, X) -> ParameterCount:
        """Parameters of the readout: the directions are random."""
        return count_parameters(self.pipeline_[-1], self.pipeline_[0].transform(X))
