"""The fidelity kernel is a kernel, and its classifier follows scikit-learn's conventions."""

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.utils.estimator_checks import parametrize_with_checks

from qllm_helpers.classifiers.kernel import PhotonicKernelClassifier


@parametrize_with_checks([PhotonicKernelClassifier(n_modes=4, n_photons=2)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def test_kernel_is_a_kernel():
    X, y = make_moons(60, noise=0.1, random_state=0)
    model = PhotonicKernelClassifier(4, 2, random_state=0).fit(X, y)
    kernel = model.kernel(X)
    assert np.allclose(np.diag(kernel), 1) and np.allclose(kernel, kernel.T)
    assert kernel.min() >= 0 and np.linalg.eigvalsh(kernel).min() > -1e-9


def test_small_phases_give_the_gaussian_limit():
    """For small phases 1 - K is quadratic in the distance: halving the scale quarters it."""
    X, y = make_moons(40, noise=0.1, random_state=0)
    wide, narrow = (
        1 - PhotonicKernelClassifier(4, 2, scale=scale, random_state=0).fit(X, y).kernel(X)
        for scale in (2e-3, 1e-3)
    )
    far = wide > wide.max() / 10
    assert np.allclose(wide[far] / narrow[far], 4, rtol=1e-2)


def test_effective_parameters_are_the_dimension_of_the_kernel():
    """One photon: the overlap is a constant, and a cosine and a sine for every pair of modes."""
    X = np.random.default_rng(0).normal(size=(80, 4))
    model = PhotonicKernelClassifier(4, 1, random_state=0).fit(X, X[:, 0] * X[:, 1] > 0)
    count = model.count_parameters(X)
    assert count.nominal.total > count.effective.total == 4 * 3 + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_modes": 1}, "n_modes must be .*1"),
        ({"n_photons": 9}, "9 photons do not fit"),
        ({"scale": 0.0}, "scale must be .*0.0"),
    ],
)
def test_impossible_kernels_are_refused(options, message):
    X, y = make_moons(20, random_state=0)
    with pytest.raises(ValueError, match=message):
        PhotonicKernelClassifier(**options).fit(X, y)
