"""Trained heads on a device with shots and noise."""

import numpy as np
import pytest
import torch

from qllm_helpers.heads.qubit import QubitHead
from qllm_helpers.studies.shots import Device, head_outputs, noise_table


@pytest.fixture(scope="module")
def head():
    return QubitHead(12, 2, 4, n_encoders=2, connectivity=2).eval()


@pytest.fixture(scope="module")
def X():
    return torch.randn(1, 50, 12, generator=torch.Generator().manual_seed(0))


def test_the_exact_device_is_the_head(head, X):
    latent, logits = head_outputs(head, X)
    torch.testing.assert_close(latent, head.quantum.latent(X).detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(logits, head(X).detach(), atol=1e-6, rtol=0)


def test_errors_shrink_with_shots_and_grow_with_noise(head, X):
    devices = [Device(), Device(shots=10), Device(shots=100_000), Device(rate=0.001, seed=3),
               Device(rate=1.0)]  # fmt: skip
    table = noise_table([(False, 0, head, X, np.zeros(50, dtype=int))], devices)
    errors = table["latent_error"].tolist()
    assert errors[0] == 0
    assert errors[2] < 0.01 < errors[1]
    assert errors[3] < errors[4]
    assert table["agreement"].iloc[0] == 1
    assert table.equals(noise_table([(False, 0, head, X, np.zeros(50, dtype=int))], devices))


def test_impossible_devices_and_heads_are_refused(X):
    with pytest.raises(ValueError, match="rate must be .* at most 1, not 2.0"):
        Device(rate=2.0)
    with pytest.raises(ValueError, match="shots"):
        Device(shots=0)
    with pytest.raises(ValueError, match="n_trajectories"):
        Device(n_trajectories=True)
    with pytest.raises(ValueError, match="both modules"):
        head_outputs(QubitHead(12, 2, 4, module2="none"), X)
