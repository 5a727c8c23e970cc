"""Nominal, live and effective parameters."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from qllm_helpers.classifiers.estimators import MLPClassifier
from qllm_helpers.heads.base import Head, MLPHead, ReplicaLinear
from qllm_helpers.heads.parameters import (
    PartCount,
    count_parameters,
    dimensions,
    generic_ranks,
    has_generic_ranks,
    live_parameters,
    matrix_rank,
    ranks_on_data,
)
from qllm_helpers.heads.photonic import PhotonicHead
from qllm_helpers.heads.qubit import QubitHead
from qllm_helpers.results.headline import published_photons


def samples(n, d, seed=0):
    """Random embeddings."""
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize(
    "row", list(published_photons().itertuples()), ids=lambda r: f"{r[1]}m{r[2]}p"
)
def test_published_counts_of_the_photonic_heads(row):
    options = {"encoding": "subset", "space": "unbunched", "n_replicas": 2}
    count = count_parameters(PhotonicHead(768, 2, row.n_modes, row.n_photons, **options))
    assert count.nominal.total == row.reported_parameters
    assert count.nominal.encoder == 100 * (768 + 1)
    assert count.nominal.quantum == 2 * row.n_modes**2
    assert count.live is None and count.effective is None


@pytest.mark.parametrize("n_modes, live_rows", [(2, 1), (4, 2), (6, 3), (8, 3)])
def test_most_rows_of_the_subset_encoding_are_dead(n_modes, live_rows):
    head = PhotonicHead(20, 2, n_modes, 1, encoding="subset")
    live = live_parameters(head, samples(5, 20))
    weight = np.hstack([live[f"encoder.{part}.weight"] for part in ("read", "unread")])
    assert weight.shape == (20, 100)
    assert weight.any(axis=0).sum() == live_rows
    assert weight[:, :live_rows].all()


def test_dead_phases_are_found_behind_the_last_beam_splitter():
    count = count_parameters(PhotonicHead(6, 2, 4, 2), samples(60, 6))
    assert count.live.quantum < count.nominal.quantum
    assert count.effective.quantum < count.live.quantum
    assert count.live.encoder == count.nominal.encoder == 6 * 4 + 4
    assert count.live.readout == count.nominal.readout == 2 * 11
    # A common phase of all modes is no photon count's business: one row of the encoder less.
    assert count.effective.encoder == 3 * 7
    # The probabilities sum to one, so a common weight and the bias do the same.
    assert count.effective.readout == 2 * 10


def test_frozen_interferometers_are_not_counted():
    count = count_parameters(PhotonicHead(6, 2, 4, 1, twin="frozen"), samples(20, 6))
    assert count.nominal.quantum == count.live.quantum == count.effective.quantum == 0
    assert count.live.total == count.nominal.total == 6 * 4 + 4 + 2 * 5


@pytest.mark.parametrize("n, effective", [(50, 2 * 9), (3, 6)])
def test_linear_head(n, effective):
    count = count_parameters(MLPHead(8, 2, ()), samples(n, 8))
    assert count.nominal == PartCount(18, readout=18) == count.live
    assert count.effective == PartCount(effective, readout=effective)


def test_a_constant_zero_feature_is_dead():
    X = samples(50, 8)
    X[:, [2, 5]] = 0.0
    count = count_parameters(MLPHead(8, 3, ()), X)
    assert (count.nominal.total, count.live.total, count.effective.total) == (27, 21, 21)
    live = live_parameters(MLPHead(8, 3, ()), X)["readout.weight"]
    assert live.any(axis=1).tolist() == [True, True, False, True, True, False, True, True]


ANALYTIC = [
    dict(n_modes=2, n_photons=1),
    dict(n_modes=3, n_photons=2, input_state=(1, 0, 1)),
    dict(n_modes=4, n_photons=2, space="unbunched"),
    dict(n_modes=4, n_photons=2, n_classes=3),
    dict(n_modes=4, n_photons=2, readout="occupation"),
    dict(n_modes=3, n_photons=1, n_encoders=1),
    dict(n_modes=2, n_photons=1, encoding="subset", hidden_dim=5),
    dict(n_modes=4, n_photons=2, encoding="subset", hidden_dim=3),
    *(
        dict(n_modes=3, n_photons=2, twin=twin)
        for twin in ("cosine", "linear", "frozen", "distinguishable", "identity")
    ),
]


@pytest.mark.parametrize("options", ANALYTIC, ids=str)
def test_rank_of_an_analytic_head_is_that_of_its_jacobian_for_every_seed(options):
    X = 3 * samples(200, 9)
    for seed in (5, 6):
        head = PhotonicHead(9, **{"n_classes": 2} | options)
        head.reset_parameters([seed])
        exact = ranks_on_data(head.double(), torch.from_numpy(X), live_parameters(head, X))
        assert generic_ranks(head, 10) == exact
        assert count_parameters(head, X).effective == PartCount(**exact)


def test_rank_of_an_analytic_head_follows_the_dimensions_of_the_data():
    X = samples(200, 9)
    X[:, 4:] = X[:, :5] @ samples(5, 5, seed=1)
    assert dimensions(torch.from_numpy(X)) == 6
    head = PhotonicHead(9, 2, 4, 2)
    exact = ranks_on_data(head.double(), torch.from_numpy(X), live_parameters(head, X))
    assert count_parameters(head, X).effective == PartCount(**exact)


def test_only_narrow_analytic_heads_have_generic_ranks():
    assert has_generic_ranks(PhotonicHead(60, 2, 4, 2))
    assert has_generic_ranks(PhotonicHead(60, 2, 4, 2, encoding="subset"))
    assert not has_generic_ranks(MLPHead(60, 2, (4,)))
    assert not has_generic_ranks(MLPHead(60, 2, ()))
    # eight qubits behind a linear map read 256 numbers: 65,536 columns
    assert not has_generic_ranks(QubitHead(60, 2, 8, reduction="linear"))
    narrow = QubitHead(9, 2, 3, n_layers=1, n_reuploads=1, reduction="linear")
    X = samples(300, 9)
    exact = ranks_on_data(narrow.double(), torch.from_numpy(X), live_parameters(narrow, X))
    assert generic_ranks(narrow, 10) == exact


def test_few_samples_limit_the_rank():
    count = count_parameters(PhotonicHead(9, 2, 4, 2), samples(10, 9))
    assert count.effective.total == 20 < count.live.total


@pytest.mark.parametrize("photons, expected", [(1, 1168), (2, 1185), (3, 1207), (4, 1231)])
def test_rank_does_not_depend_on_the_number_of_threads(photons, expected):
    head, before = PhotonicHead(382, 2, 4, photons), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert generic_ranks(head, 383)["total"] == expected
    finally:
        torch.set_num_threads(before)


class Bottleneck(Head):
    """Two linear maps in a row: rank k(n + m - k) counts the redundancy between them."""

    def __init__(self, n_features, n_classes, width):
        super().__init__(n_features, n_classes)
        self.encoder = ReplicaLinear(1, n_features, width, bias=False)
        self.readout = ReplicaLinear(1, width, n_classes, bias=False)
        self.reset_parameters([0])


def test_effective_parameters_of_a_factorised_matrix():
    count = count_parameters(Bottleneck(7, 5, 3), samples(40, 7))
    assert count.nominal == PartCount(36, encoder=21, readout=15) == count.live
    # Matrices of rank 3 and shape 7 x 5 form a manifold of dimension 3 (7 + 5 - 3).
    assert count.effective == PartCount(27, encoder=21, readout=15)


def test_any_torch_module_gives_the_same_as_the_head():
    head = MLPHead(6, 2, (5,), dropout=0.5)
    plain = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    with torch.no_grad():
        for index, layer in ((0, head.encoder[0]), (2, head.readout)):
            plain[index].weight.copy_(layer.weight[0].T)
            plain[index].bias.copy_(layer.bias[0, 0])
    X = samples(40, 6)
    ours, theirs = count_parameters(head, X), count_parameters(plain, X)
    assert ours.nominal.total == theirs.nominal.total == 47
    assert ours.live.total == theirs.live.total
    assert ours.effective.total == theirs.effective.total
    assert head.training and next(head.parameters()).dtype == torch.float32


def test_chunks_do_not_change_the_count(monkeypatch):
    head, X = PhotonicHead(6, 2, 4, 1), samples(40, 6)
    whole = count_parameters(head, X)
    monkeypatch.setattr("qllm_helpers.heads.parameters._EXPANDED_NUMBERS", 7 * 90)
    assert count_parameters(head, X) == whole


@pytest.fixture(scope="module")
def task():
    """Two classes, 768 features."""
    X = samples(60, 768)
    return X, (X[:, 0] > 0).astype(int)


def test_fitted_estimators(task):
    X, y = task
    network = MLPClassifier(epochs=1, random_state=0).fit(X, y)
    assert count_parameters(network).nominal == PartCount(82_052, encoder=81_950, readout=102)
    linear = MLPClassifier((), epochs=1, random_state=0).fit(X, y)
    assert count_parameters(linear).nominal.total == 1_538


@pytest.mark.parametrize("model", [LogisticRegression(), SVC(kernel="linear"), LinearSVC()])
def test_linear_models_of_scikit_learn(model, task):
    X, y = task
    model.fit(X, y)
    assert count_parameters(model).nominal == PartCount(769, readout=769)
    count = count_parameters(model, X)
    assert (count.live.total, count.effective.total) == (769, 60)


def test_multiclass_logistic_regression_and_pipelines():
    X = samples(90, 4)
    y = np.arange(90) % 3
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    count = count_parameters(pipeline, X)
    assert count.nominal.total == count.live.total == count.effective.total == 15


def test_kernel_machine_counts_dual_coefficients(task):
    X, y = task
    model = SVC(C=1).fit(X, y)
    assert count_parameters(model).effective is None
    count = count_parameters(model, samples(90, 768, seed=1))
    assert count.nominal.total == model.n_support_.sum() + 1 == count.effective.total
    assert count.live is None


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rank_of_a_kernel_machine_is_that_of_its_features(n_classes):
    X = samples(300, 3)
    model = SVC(kernel="poly", degree=2, coef0=1.0).fit(X[:60], np.arange(60) % n_classes)
    # polynomials of degree 2 in three variables, the constant among them
    pairs = n_classes * (n_classes - 1) // 2
    assert count_parameters(model, X).effective.total == 10 * pairs
    gamma = 1 / (3 * X[:60].var())
    kernel = (gamma * X @ X[:60].T + 1) ** 2
    given = SVC(kernel="precomputed").fit(kernel[:60], np.arange(60) % n_classes)
    assert count_parameters(given, kernel) == count_parameters(model, X)


def test_what_cannot_be_counted_is_refused(task):
    X, y = task
    with pytest.raises(TypeError, match="LogisticRegression"):
        count_parameters(LogisticRegression())
    with pytest.raises(TypeError, match="fitted"):
        count_parameters(MLPClassifier())
    with pytest.raises(TypeError, match="fitted"):
        count_parameters(SVC())
    with pytest.raises(TypeError, match="list"):
        count_parameters([1, 2])
    with pytest.raises(ValueError, match="columns"):
        count_parameters(MLPHead(8, 2, ()), samples(5, 7))
    with pytest.raises(ValueError, match="finite"):
        count_parameters(MLPHead(8, 2, ()), np.full((5, 8), np.nan))
    with pytest.raises(ValueError, match="must be"):
        count_parameters(LogisticRegression().fit(X, y), X[:, :5])


def test_rank_of_a_large_matrix_is_that_of_its_singular_values():
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(n, 641, generator=generator).double() for n in (900, 700))
    matrix = left @ right.T * torch.logspace(0, -8, 700, dtype=torch.float64)
    assert matrix_rank(matrix) == 641
    assert matrix_rank(matrix[:, :300]) == 300
