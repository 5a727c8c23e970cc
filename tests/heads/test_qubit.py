"""Heads with the paper's circuits and their twins: counts, shapes, replicas, seeds, refusals."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from qllm_helpers import count_parameters
from qllm_helpers.classifiers.estimators import QuadraticFormClassifier, QubitClassifier
from qllm_helpers.classifiers.replicated import fit_many
from qllm_helpers.heads.base import select_replica
from qllm_helpers.heads.qubit import PAPER_PARAMETERS, PAPER_READINGS, QuadraticFormHead, QubitHead
from qllm_helpers.studies.grid import estimator_class, load_units

SMALL = QubitClassifier(5, connectivity=1, n_layers=1, padding="zeros", epochs=8, lr=3e-2)
SMALL_FORMS = QuadraticFormClassifier(n_forms=3, epochs=8, lr=3e-2)
OPTIONS = [
    {},
    {"n_encoders": 2, "n_layers": 2},
    {"n_encoders": 2, "merge": "mean", "connectivity": 3},
    {"n_encoders": 2, "n_latent": 6},
    {"module2": "none", "boundary": "open"},
    {"module1": "linear", "n_reuploads": 0},
    {"module1": "none", "reuploads": "shared"},
    {"n_qubits": 2, "reduction": "linear"},
    {"n_qubits": 2, "reduction": "truncate", "padding": "repeat", "angle_scale": 3.0},
]


def size(head):
    """Trainable and frozen numbers of one replica."""
    return sum(parameter.numel() for parameter in head.parameters()) // head.n_replicas


def embeddings(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_shapes_gradients_and_a_replica_alone(options):
    options = {"n_qubits": 4} | options
    alone, many = QubitHead(9, 3, **options), QubitHead(9, 3, n_replicas=3, **options)
    alone.reset_parameters([11])
    many.reset_parameters([5, 11, 7])
    X = embeddings(3, 6, 9)
    assert many(X).shape == (3, 6, 3)
    torch.testing.assert_close(alone(X[1:2]), many(X)[1:2], rtol=0, atol=1e-6)
    many(X).square().sum().backward()
    assert all(parameter.grad is not None for parameter in many.parameters())
    torch.testing.assert_close(select_replica(many, 1)(X[1:2]), alone(X[1:2]), rtol=0, atol=1e-6)


def expected_count(*, d=384, k=2, Q=10, E=1, C=1, M=1, N=2, R=1, Qc=None):
    """Parameters of a ring, written down independently of the code."""
    Qc = Qc or Q
    return E * Q * C * M + Qc * C * (N + R) + (Qc + 1) * k + k


@pytest.mark.parametrize(
    "options, symbols, number",
    [
        ({}, {}, 10 + 30 + 24),
        ({"n_encoders": 2, "connectivity": 3}, {"E": 2, "C": 3}, 60 + 90 + 24),
        ({"n_qubits": 14, "n_layers": 4}, {"Q": 14, "M": 4}, 56 + 42 + 32),
        ({"n_latent": 6, "n_reuploads": 0}, {"Qc": 6, "N": 0}, 10 + 6 + 16),
    ],
)
def test_parameter_counts(options, symbols, number):
    head = QubitHead(384, 2, **options)
    assert size(head) == number == expected_count(**symbols)


def test_counts_of_the_named_alternatives():
    plain = size(QubitHead(384, 2))
    assert size(QubitHead(384, 2, module2="none")) == 10 + 22
    assert size(QubitHead(384, 2, module1="linear")) == 385 * 10 + 30 + 24
    assert size(QubitHead(384, 2, module1="none")) == 30 + 24
    assert size(QubitHead(384, 2, reuploads="shared")) == plain - 10
    assert size(QubitHead(384, 2, boundary="open")) == plain - 4
    assert size(QubitHead(384, 2, 4, reduction="linear")) == 385 * 16 + 4 + 12 + 12
    assert size(QubitHead(384, 2, 4, reduction="truncate")) == 4 + 12 + 12


@pytest.mark.parametrize("reading", PAPER_READINGS)
def test_readings_of_the_published_head_have_its_number_of_parameters(reading):
    head = QubitHead(768, 2, **PAPER_READINGS[reading])
    count = count_parameters(head).nominal
    assert count.total == PAPER_PARAMETERS == 886
    assert (count.encoder, count.quantum, count.readout) == (0, 854, 32)
    twin = QuadraticFormHead.like(head)
    assert PAPER_PARAMETERS - 14 < size(twin) <= PAPER_PARAMETERS


def test_live_parameters_leave_out_what_is_not_measured():
    # Each of two encoders is measured on half of its qubits: its last gates cannot act on them.
    head = QubitHead(16, 2, 4, n_encoders=2, module2="none", boundary="open")
    count = count_parameters(head, embeddings(40, 16).numpy())
    assert count.nominal.quantum == 6
    assert count.live.quantum == 2
    assert count.effective.total <= count.live.total


def test_what_the_output_layer_reads():
    head = QubitHead(16, 2, 4, n_encoders=2, n_latent=6)
    X = embeddings(1, 5, 16)
    read = head.quantum(X)
    first, second = (encoder(X) for encoder in head.quantum.first)
    latent = torch.cat([first[..., :3], second[..., :3]], -1)
    torch.testing.assert_close(read[..., :6], latent)
    torch.testing.assert_close(read[..., 6:], head.quantum.second(latent))
    mean = QubitHead(16, 2, 4, n_encoders=2, merge="mean", module2="none")
    average = sum(encoder(X) for encoder in mean.quantum.first) / 2
    torch.testing.assert_close(mean.quantum(X), average)


def test_opposite_embeddings_are_the_same_state():
    X = embeddings(1, 5, 16)
    for head in (QubitHead(16, 2, 4), QuadraticFormHead(16, 2, 3), QuadraticFormHead(16, 2, 3, 5)):
        torch.testing.assert_close(head(X), head(-3 * X))


def test_the_quadratic_twin_is_a_form_of_low_rank_and_repeats():
    head = QuadraticFormHead(16, 2, 3, 5, n_replicas=2)
    head.reset_parameters([4, 9])
    alone = QuadraticFormHead(16, 2, 3, 5)
    alone.reset_parameters([9])
    X = embeddings(2, 6, 16)
    torch.testing.assert_close(head(X)[1:], alone(X[1:]))
    P, V = head.quantum.directions[1], head.quantum.vectors[1]
    torch.testing.assert_close(P.mT @ P, torch.eye(5))
    for column in range(2):
        A = P @ V @ torch.diag(head.readout.weight[1, :, column]) @ V.mT @ P.mT
        form = torch.einsum("bi,ij,bj->b", X[1], A, X[1]) / (X[1] @ P).square().sum(-1)
        wanted = form + head.readout.bias[1, 0, column]
        torch.testing.assert_close(head(X)[1, :, column], wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(alone(torch.zeros(1, 1, 16)), alone.readout.bias)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_qubits": 3}, "9 values do not fit into the 8 amplitudes of 3 qubits.*at least 4"),
        ({"n_qubits": 3, "padding": "constant"}, "9 values and the constant .* at least 4"),
        ({"n_qubits": 0}, "n_qubits must be a whole number, at least 1, not 0"),
        ({"n_encoders": 0}, "n_encoders must be a whole number, at least 1, not 0"),
        ({"connectivity": 4}, "connectivity 4 reaches beyond a register of 4"),
        ({"n_latent": 2, "connectivity": 2}, "connectivity 2 reaches beyond a register of 2"),
        ({"n_encoders": 3}, "4 latent values cannot be shared equally by 3 encoders"),
        ({"n_latent": 5}, "needs 5 measured qubits in each encoder, which has 4"),
        ({"n_encoders": 2, "n_latent": 6, "merge": "mean"}, "needs 6 measured qubits"),
        ({"module1": "linear", "module2": "none"}, "without both modules no circuit is left"),
        ({"module1": "linear", "reduction": "linear"}, "reduction belongs to module1='circuit'"),
        ({"module1": "none", "n_latent": 10}, "first 10 values of the embedding, which has 9"),
        ({"module1": "vqc"}, "module1 must be one of"),
        ({"module2": "vqc"}, "module2 must be one of"),
        ({"reduction": "pca"}, "reduction must be one of"),
        ({"merge": "sum"}, "merge must be one of"),
        ({"padding": "noise"}, "padding must be one of"),
    ],
)
def test_impossible_heads_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        QubitHead(9, 2, **{"n_qubits": 4} | options)


#: One check fits whole numbers from 0 to 2, among them samples of zeros only.
NO_STATE = {"check_estimators_dtypes": "a sample of zeros has no amplitudes and is refused"}


@parametrize_with_checks(
    [SMALL, clone(SMALL).set_params(padding="constant"), SMALL_FORMS],
    expected_failed_checks=lambda one: (
        NO_STATE if one.get_params().get("padding") == "zeros" else {}
    ),
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def task():
    """Two classes that differ in the direction of large variance, so that forms tell them apart."""
    X = embeddings(160, 12, seed=3).numpy()
    y = np.arange(160) % 2
    X[y == 0, :4] *= 3
    X[y == 1, 6:] *= 3
    return X, np.array(["no", "yes"])[y]


@pytest.mark.parametrize(
    "estimator",
    [
        clone(SMALL).set_params(n_layers=3, connectivity=2, epochs=30),
        QuadraticFormClassifier(n_forms=4, epochs=30, lr=3e-2),
        QuadraticFormClassifier(n_forms=4, n_inputs=6, epochs=30, lr=3e-2),
    ],
    ids=["qubits", "forms", "forms in few directions"],
)
def test_classifiers_learn_and_many_equal_one(estimator, task):
    X, y = task
    split = type("Split", (), {"train": np.arange(100), "validation": np.arange(100, 160)})
    first, second = fit_many(estimator, X, y, [split, split], [1, 2])
    alone = clone(estimator).set_params(random_state=2)
    alone.fit(X[:100], y[:100], X[100:], y[100:])
    np.testing.assert_allclose(second.predict_proba(X), alone.predict_proba(X), atol=1e-4)
    assert min(first.validation_accuracy_, second.validation_accuracy_) > 0.65
    again = clone(estimator).set_params(random_state=2).fit(X[:100], y[:100], X[100:], y[100:])
    np.testing.assert_array_equal(alone.predict_proba(X), again.predict_proba(X))


def test_twins_have_as_many_parameters_and_frozen_angles_stay(task):
    X, y = task
    quantum = clone(SMALL).set_params(n_layers=4, epochs=1).fit(X, y)
    quadratic = clone(quantum).set_params(twin="quadratic").fit(X, y)
    frozen = clone(quantum).set_params(twin="frozen", random_state=3).fit(X, y)
    total = count_parameters(quantum).nominal.total
    assert total - 5 < count_parameters(quadratic).nominal.total <= total
    assert count_parameters(frozen).nominal.quantum == 0
    start = QubitHead(12, 2, 5, n_layers=4)
    start.reset_parameters([3])
    assert torch.equal(frozen.module_.quantum.second.angles, start.quantum.second.angles)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (QubitClassifier(n_qubits=3), "do not fit into the 8 amplitudes"),
        (QubitClassifier(n_qubits=4, connectivity=4), "reaches beyond"),
        (QubitClassifier(n_encoders=0), "n_encoders"),
        (QubitClassifier(twin="bigger"), "twin must be one of"),
        (QuadraticFormClassifier(n_forms=0), "n_forms"),
        (QuadraticFormClassifier(n_inputs=13), "n_inputs must be at most 12"),
    ],
)
def test_bad_parameters_and_data_are_refused_before_training(estimator, message, task):
    X, y = task
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        clone(SMALL).fit(np.full_like(X, np.nan), y)
    with pytest.raises(ValueError, match="2 classes"):
        clone(SMALL).fit(X, np.zeros(len(X)))


@pytest.fixture(scope="module")
def units():
    """The study's units by label."""
    return {unit.head: unit for unit in load_units("qubits")}


def test_every_head_of_the_study_can_be_built(units):
    sizes = {}
    for name, unit in units.items():
        if unit.estimator == "LogisticRegression":
            continue
        for setting in unit.settings:
            for epochs in setting.get("epochs", [1]):
                known = unit.parameters | setting | {"epochs": epochs}
                estimator = estimator_class(unit.estimator)(**known)
                estimator._options()
        sizes[name] = size(estimator._build_head(768, 2, 1))
        assert len(unit.seeds) >= (10 if name.startswith("14 qubits") else 20)
    assert sizes["10 qubits, single"] == expected_count(C=3, M=4)
    assert sizes["10 qubits, multi"] == expected_count(C=3, M=4, E=2)
    assert 224 < sizes["10 qubits, single, quadratic"] <= sizes["10 qubits, single"] == 234
    assert sizes["quadratic forms, rank 10"] == 768 * 10 + 22


def test_the_study_trains_both_readings_of_the_published_head(units):
    names = [name for name in units if "886" in name and "quadratic" not in name]
    assert len(names) == 2 * len(PAPER_READINGS)  # as read, and with a constant
    given = [units[name].parameters for name in names]
    for reading in PAPER_READINGS.values():
        assert any(reading.items() <= one.items() for one in given)
