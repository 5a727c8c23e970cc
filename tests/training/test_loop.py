"""The training loop: what it keeps, and that replicas do not see each other."""

import numpy as np
import pytest
import torch

from qllm_helpers.heads.base import MLPHead
from qllm_helpers.heads.photonic import PhotonicHead
from qllm_helpers.training import loop as training
from qllm_helpers.training.loop import BestWeights, TrainingOptions, compute_logits, train

N, D = 120, 10
SEEDS = [5, 0, 17]


@pytest.fixture(scope="module")
def data():
    """Noisy two-class data, where validation accuracy goes up and down."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)).astype(np.float32)
    y = (X[:, 0] + 1.5 * rng.normal(size=N) > 0).astype(np.int64)
    order = np.stack([rng.permutation(N) for _ in SEEDS])
    return X, y, order[:, :70], order[:, 70:]


def run(data, seeds=SEEDS, rows=slice(None), hidden_dims=(8,), dropout=0.3, **options):
    """A trained head and its result, for the replicas `rows`."""
    X, y, train_index, validation_index = data
    head = MLPHead(D, 2, hidden_dims, dropout, n_replicas=len(seeds))
    head.reset_parameters(seeds)
    options = TrainingOptions(**{"epochs": 12, "lr": 2e-2, "batch_size": 32} | options)
    result = train(
        head, X, y, train_index[rows], validation_index[rows], seeds=seeds, options=options
    )
    return head, result


def test_best_weights_are_restored_bit_for_bit(data, monkeypatch):
    snapshots = []

    class Spy(BestWeights):
        def update(self, epoch, loss, accuracy):
            snapshots.append([p.detach().clone() for p in self.parameters])
            super().update(epoch, loss, accuracy)

    monkeypatch.setattr(training, "BestWeights", Spy)
    head, result = run(data)
    assert len(snapshots) == 12
    assert len(set(result.best_epoch)) > 1 and (result.best_epoch < 12).any()
    for r, epoch in enumerate(result.best_epoch):
        for kept, parameter in zip(snapshots[epoch - 1], head.parameters(), strict=True):
            assert torch.equal(kept[r], parameter[r])


def test_best_is_highest_accuracy_then_lowest_loss_then_earliest(data):
    _, result = run(data)
    for r, history in result.history.groupby("replica"):
        ranked = history.sort_values(
            ["validation_accuracy", "validation_loss", "epoch"], ascending=[False, True, True]
        )
        best = ranked.iloc[0]
        assert best["epoch"] == result.best_epoch[r]
        assert best["validation_accuracy"] == result.best_validation_accuracy[r]
        assert best["validation_loss"] == result.best_validation_loss[r]


def test_reported_accuracy_is_that_of_the_final_head(data):
    X, y, _, validation_index = data
    head, result = run(data)
    logits = compute_logits(head, X)
    for r, index in enumerate(validation_index):
        predicted = logits[r, index].argmax(-1).numpy()
        assert (predicted == y[index]).mean() == result.best_validation_accuracy[r]


def test_ties_and_age():
    parameter = torch.nn.Parameter(torch.zeros(2, 1))
    best = BestWeights([parameter], len(parameter), patience=None)
    steps = [  # loss and accuracy per replica; the weight is the epoch
        ((1.0, 1.0), (0.5, 0.5)),
        ((0.9, 1.0), (0.5, 0.5)),
        ((0.1, 2.0), (0.4, 0.6)),
    ]
    for epoch, (loss, accuracy) in enumerate(steps, start=1):
        with torch.no_grad():
            parameter.fill_(epoch)
        best.update(epoch, np.array(loss), np.array(accuracy))
    best.restore()
    assert best.epoch.tolist() == [2, 3]
    assert parameter.flatten().tolist() == [2.0, 3.0]


def test_a_shallow_copy_of_the_weights_would_keep_the_last_ones(data):
    """The earlier reproduction's trap: ``state_dict().copy()`` shares the live tensors."""
    head = MLPHead(D, 2, ())
    shallow, kept = (
        head.state_dict().copy(),
        BestWeights(list(head.parameters()), head.n_replicas, None),
    )
    kept.update(1, np.array([0.5]), np.array([0.9]))
    first = head.readout.weight.detach().clone()
    with torch.no_grad():
        head.readout.weight.add_(1.0)
    assert torch.equal(shallow["readout.weight"], head.readout.weight)
    assert torch.equal(kept.copies[0], first)
    head.load_state_dict(shallow)
    assert not torch.equal(head.readout.weight, first)
    kept.restore()
    assert torch.equal(head.readout.weight, first)


def test_same_seeds_same_bits(data):
    (a, first), (b, second) = run(data), run(data)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert first.history.equals(second.history)
    other, _ = run(data, seeds=[1, 2, 3])
    assert not torch.equal(other.readout.weight, a.readout.weight)


@pytest.mark.parametrize("hidden_dims, dropout", [((), 0.0), ((8,), 0.0), ((8, 6), 0.3)])
def test_a_replica_trains_the_same_alone_and_among_others(data, hidden_dims, dropout):
    many, together = run(data, hidden_dims=hidden_dims, dropout=dropout)
    for r, seed in enumerate(SEEDS):
        one, alone = run(data, [seed], slice(r, r + 1), hidden_dims=hidden_dims, dropout=dropout)
        assert alone.best_epoch[0] == together.best_epoch[r]
        for a, b in zip(many.parameters(), one.parameters(), strict=True):
            torch.testing.assert_close(a[r : r + 1], b, rtol=1e-5, atol=1e-5)
        columns = ["epoch", "train_loss", "validation_loss", "validation_accuracy"]
        history = together.history[together.history["replica"] == r]
        np.testing.assert_allclose(history[columns], alone.history[columns], atol=1e-5)


@pytest.mark.parametrize("dtype, atol", [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_a_photonic_replica_computes_the_same_alone_and_among_others(data, dtype, atol):
    """The function, not every weight: Adam turns the rounding of a dead phase's gradient into a
    random walk of that phase, which no logit sees."""
    X, y, train_index, validation_index = data
    heads = [PhotonicHead(D, 2, 4, 2, n_replicas=n).to(dtype) for n in (3, 1)]
    options = TrainingOptions(epochs=8, lr=2e-2)
    for head, rows in zip(heads, (slice(None), slice(1, 2)), strict=True):
        seeds = SEEDS[rows]
        head.reset_parameters(seeds)
        train(head, X, y, train_index[rows], validation_index[rows], seeds=seeds, options=options)
    many, one = (compute_logits(head, X) for head in heads)
    torch.testing.assert_close(many[1:2], one, rtol=0, atol=atol)


def test_the_loop_is_plain_adam(data):
    """One replica equals a hand-written loop over ``torch.nn.Linear`` with the same batches."""
    X, y, train_index, _ = data
    head = MLPHead(D, 2, ())
    twin = torch.nn.Linear(D, 2)
    with torch.no_grad():
        twin.weight.copy_(head.readout.weight[0].T)
        twin.bias.copy_(head.readout.bias[0, 0])
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.01, weight_decay=0.1)
    options = TrainingOptions(epochs=4, lr=0.01, batch_size=70, weight_decay=0.1)
    train(head, X, y, train_index[:1], None, seeds=[0], options=options)
    inputs, labels = torch.from_numpy(X[train_index[0]]), torch.from_numpy(y[train_index[0]])
    for _ in range(4):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin(inputs), labels).backward()
        optimizer.step()
    torch.testing.assert_close(head.readout.weight[0].T, twin.weight, rtol=1e-5, atol=1e-5)


def test_every_sample_is_seen_once_an_epoch(data):
    seen = []

    class Recorder(MLPHead):
        def forward(self, X):
            if self.training:
                seen.append(X[:, :, 0].detach())
            return super().forward(X)

    X, y, train_index, _ = data
    numbered = np.repeat(np.arange(N, dtype=np.float32)[:, None], D, axis=1)
    head = Recorder(D, 2, (), n_replicas=3)
    options = TrainingOptions(epochs=2, batch_size=32)
    train(head, numbered, y, train_index, None, seeds=SEEDS, options=options)
    assert [part.shape[1] for part in seen] == [32, 32, 6] * 2
    epochs = torch.cat(seen[:3], 1), torch.cat(seen[3:], 1)
    for order in epochs:
        assert (np.sort(order.numpy()) == np.sort(train_index)).all()
    assert not torch.equal(*epochs)


def test_without_validation_the_last_weights_stay(data):
    X, y, train_index, _ = data
    head = MLPHead(D, 2, (), n_replicas=3)
    result = train(head, X, y, train_index, None, seeds=SEEDS, options=TrainingOptions(epochs=3))
    assert result.best_epoch.tolist() == [3, 3, 3]
    assert np.isnan(result.best_validation_accuracy).all()
    assert result.history["validation_accuracy"].isna().all()


def test_patience_stops_each_replica_by_itself(data):
    _, full = run(data, epochs=40)
    _, stopped = run(data, epochs=40, patience=3)
    for r, history in stopped.history.groupby("replica"):
        last = history["epoch"].max()
        assert last == min(stopped.best_epoch[r] + 3, 40)
        reference = full.history[full.history["replica"] == r].head(last)
        np.testing.assert_array_equal(history, reference)
    assert stopped.history.groupby("replica").size().nunique() > 1
    assert len(stopped.history) < len(full.history)


@pytest.mark.parametrize("every", [5, 12, 40])
def test_epochs_that_are_not_validated_change_nothing_but_the_choice(data, every):
    _, full = run(data)
    _, seldom = run(data, validate_every=every)
    due = seldom.history["epoch"].isin({*range(every, 13, every), 12})
    np.testing.assert_array_equal(seldom.history[due], full.history[due])
    assert seldom.history.loc[~due, "validation_loss"].isna().all()
    assert np.array_equal(seldom.history["train_loss"], full.history["train_loss"])
    assert set(seldom.best_epoch) <= set(seldom.history.loc[due, "epoch"])


def test_history_is_tidy(data):
    _, result = run(data)
    names = ["replica", "epoch", "train_loss", "validation_loss", "validation_accuracy"]
    assert list(result.history) == names
    assert result.history["replica"].value_counts().tolist() == [12, 12, 12]
    assert result.history.loc[result.history["replica"] == 0, "epoch"].tolist() == list(
        range(1, 13)
    )


def test_features_per_replica_are_the_same_as_shared_ones(data):
    X, y, train_index, validation_index = data
    shared, _ = run(data)
    stacked, _ = run((np.stack([X] * 3), y, train_index, validation_index))
    assert torch.equal(shared.readout.weight, stacked.readout.weight)


def test_chunks_do_not_change_the_logits(data, monkeypatch):
    X = data[0]
    head = MLPHead(D, 2, (8,), n_replicas=3)
    whole = compute_logits(head, X)
    monkeypatch.setattr(training, "_EVALUATION_ROWS", 21)
    torch.testing.assert_close(compute_logits(head, X), whole)
    assert head.training and whole.shape == (3, N, 2) and not whole.requires_grad


def test_divergence_names_the_seed(data):
    X, y, train_index, validation_index = data
    head = MLPHead(D, 2, (), n_replicas=3)
    with torch.no_grad():
        head.readout.bias[1] = float("nan")
    with pytest.raises(ArithmeticError, match="seed 0 is nan in epoch 1.*lower lr"):
        train(head, X, y, train_index, validation_index, seeds=SEEDS, options=TrainingOptions())


def bad_run(data, **changes):
    """Run with some arguments replaced."""
    X, y, train_index, validation_index = data
    head = MLPHead(D, 2, (), n_replicas=3)
    arguments = {"X": X, "y": y, "train_index": train_index, "validation_index": validation_index}
    arguments |= {"seeds": SEEDS, "options": TrainingOptions(epochs=1)}
    train(head, **arguments | changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"X": np.zeros((N, D + 1))}, "X must be"),
        ({"X": np.zeros((2, N, D))}, "2 replicas"),
        ({"X": np.full((N, D), np.nan)}, "NaN"),
        ({"y": np.full(N, 2)}, "labels must lie"),
        ({"y": np.zeros(N)}, "integer labels"),
        ({"train_index": np.arange(5)}, "train_index must have shape"),
        ({"train_index": np.full((3, 5), N)}, "train_index must lie"),
        ({"validation_index": np.full((3, 5), 0.5)}, "must hold integers"),
        ({"seeds": [1, 2]}, "seeds"),
        ({"seeds": [1, 2, -3]}, "non-negative"),
        ({"validation_index": None, "options": TrainingOptions(patience=2)}, "patience needs"),
    ],
)
def test_bad_runs_are_refused(data, changes, message):
    with pytest.raises(ValueError, match=message):
        bad_run(data, **changes)


@pytest.mark.parametrize(
    "option",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"epochs": True},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"lr": "fast"},
        {"batch_size": 0},
        {"weight_decay": -1e-3},
        {"patience": 0},
        {"device": "tpu9"},
        {"device": "meta"},
    ],
)
def test_bad_options_are_refused(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        TrainingOptions(**option)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(data):
    cpu, _ = run(data, epochs=3)
    cuda, _ = run(data, epochs=3, device="cuda")
    torch.testing.assert_close(cpu.readout.weight, cuda.readout.weight.cpu(), rtol=1e-3, atol=1e-4)
