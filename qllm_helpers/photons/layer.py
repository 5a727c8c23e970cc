"""The photonic layer of the MerLin reproduction of Kim et al. (arXiv 2504.08732), only faster.

U(x) = R diag(exp(i phi(x))) L with two universal rectangular meshes; Fock probabilities.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import nn

from qllm_helpers import checks
from qllm_helpers.photons.interferometer import mesh_unitary, output_probabilities
from qllm_helpers.photons.kernels import (
    bunching_factors,
    compiled_product,
    fock_tables,
    product_of_forms,
)
from qllm_helpers.photons.merlin import to_merlin


def default_input_state(n_modes: int, n_photons: int) -> tuple[int, ...]:
    """One photon in modes 0, 2, 4, ..., then in modes 1, 3, ... (the earlier reproduction's)."""
    checks.integer("n_modes", n_modes, 2)
    if checks.integer("n_photons", n_photons) > n_modes:
        fit = f"{n_photons} photons do not fit into {n_modes} modes with one photon each"
        raise ValueError(f"{fit}: lower n_photons, or give an input_state.")
    occupied = [*range(0, n_modes, 2), *range(1, n_modes, 2)][:n_photons]
    return tuple(np.bincount(occupied, minlength=n_modes).tolist())


class PhotonicLayer(nn.Module):
    """R circuits side by side (replicas) that turn phases into the probabilities of Fock states.

    Parameters
    ----------
    n_modes, n_photons : int
        Number of modes m, at least 2, and of photons n, at least 1.
    space : {"fock", "unbunched"}
        "fock": all C(m + n - 1, n) outputs. "unbunched": the C(m, n) outputs with at most one
        photon a mode, with the probabilities divided by their sum (as MerLin does).
    input_state : sequence of int, optional
        Photons per input mode; default `default_input_state`.
    n_replicas : int
        Number R of independent circuits.
    distinguishable : bool
        Photons that do not interfere with each other: probabilities of classical particles behind
        the same interferometer (an ablation; our choice).

    Attributes
    ----------
    basis, n_outputs : list of tuple of int, int
        The N outputs in order (descending lexicographic, MerLin's order), and N.
    left, right : Parameter, shape (R, m * m), radians
        Phases of the meshes before and after the encoding (see `interferometer.mesh_unitary`). The
        last m of `right` change no photon count, those of `left` only shift the encoded phases;
        they are kept because the earlier reproduction counts them.

    Raises
    ------
    ValueError, MemoryError
        For an impossible circuit; if tables or phases do not fit into memory, before allocation.
    """

    def __init__(
        self,
        n_modes: int,
        n_photons: int,
        *,
        space: str = "fock",
        input_state: Sequence[int] | None = None,
        n_replicas: int = 1,
        distinguishable: bool = False,
    ) -> None:
        super().__init__()
        self.n_modes = m = checks.integer("n_modes", n_modes, 2)
        self.n_photons = n = checks.integer("n_photons", n_photons)
        self.n_replicas = R = checks.integer("n_replicas", n_replicas)
        self.space = checks.choice("space", space, ("fock", "unbunched"))
        self.distinguishable = bool(distinguishable)
        if space == "unbunched" and n > m:
            raise ValueError(f"{n} photons in {m} modes always bunch: use space='fock'.")
        checks.memory(f"the phases of n_replicas = {R:,} circuits of {m:,} modes", 8.0 * R * m * m)
        state = default_input_state(m, n) if input_state is None else tuple(map(int, input_state))
        if len(state) != m or min(state) < 0 or sum(state) != n:
            raise ValueError(f"input_state {state} must hold {n} photons in {m} modes.")
        self.input_state = state
        self._tables = fock_tables(m, n, space == "unbunched")
        self.n_outputs = len(self._tables.states)
        self._photon_modes = np.repeat(np.arange(m), state).tolist()
        weights = torch.from_numpy(bunching_factors(self._tables, self._photon_modes))
        self.register_buffer("_weights", weights, persistent=False)
        self.left = nn.Parameter(torch.empty(R, m * m))
        self.right = nn.Parameter(torch.empty(R, m * m))
        self.reset_parameters(torch.Generator().manual_seed(r) for r in range(R))

    @property
    def basis(self) -> list[tuple[int, ...]]:
        return list(map(tuple, self._tables.states.tolist()))

    @torch.no_grad()
    def reset_parameters(self, generators: Iterable[torch.Generator]) -> None:
        """Draw all phases uniformly from [0, 2 pi), replica r's from `generators[r]`."""
        for replica, generator in enumerate(generators):
            for phases in (self.left, self.right):
                draw = torch.rand(phases.shape[1], generator=generator, dtype=torch.float64)
                phases[replica] = 2 * math.pi * draw

    def transfer(self, phases: torch.Tensor) -> torch.Tensor:
        """Amplitude (R, B, n, m) of each photon to leave in each mode, from phases (R, B, m)."""
        entered = mesh_unitary(self.left, self.n_modes, self._photon_modes).mT
        right = mesh_unitary(self.right, self.n_modes).mT
        turned = torch.polar(torch.ones_like(phases), phases).unsqueeze(2) * entered.unsqueeze(1)
        R, B, n, m = turned.shape
        return torch.bmm(turned.reshape(R, B * n, m), right).view(R, B, n, m)

    def _check_phases(self, phases: torch.Tensor) -> None:
        R, m, N = self.n_replicas, self.n_modes, self.n_outputs
        if phases.ndim != 3 or (len(phases), phases.shape[2]) != (R, m):
            raise ValueError(f"phases must have shape ({R}, B, {m}), not {tuple(phases.shape)}.")
        if phases.dtype != self.left.dtype:
            raise ValueError(f"phases are {phases.dtype}, the layer is {self.left.dtype}.")
        B, n_bytes = phases.shape[1], R * phases.shape[1] * N * phases.element_size()
        if phases.device.type == "cpu":
            checks.memory(f"probabilities of {N:,} Fock states for {R} x {B:,} samples", n_bytes)

    def _coefficients(self, columns: torch.Tensor) -> torch.Tensor:
        R, B, n, m = columns.shape
        fast = columns.device.type == "cpu" and not columns.requires_grad
        product = compiled_product if fast else product_of_forms
        return product(columns.reshape(R * B, n * m), self._tables).view(R, B, -1)

    def amplitudes(self, phases: torch.Tensor) -> torch.Tensor:
        """Amplitudes (R, B, N) from phases (R, B, m), radians; not renormalised when unbunched."""
        self._check_phases(phases)
        if self.distinguishable:
            raise ValueError("Distinguishable photons have no joint amplitude; use forward().")
        weights = self._weights.sqrt().to(phases.dtype)
        return self._coefficients(self.transfer(phases)) * weights

    def forward(self, phases: torch.Tensor) -> torch.Tensor:
        """Probabilities (R, B, N) of the outputs in `basis` from phases (R, B, m), radians."""
        self._check_phases(phases)
        if phases.device.type != "cpu":
            return self.reference(phases)
        circuit = self._tables, self._photon_modes, self._weights.to(phases.dtype).numpy()
        kind = self.distinguishable, self.space == "unbunched"
        return output_probabilities(phases, self.left, self.right, *circuit, *kind)

    def reference(self, phases: torch.Tensor) -> torch.Tensor:
        """What `forward` computes, by torch's own operations, on any device; slower."""
        columns = self.transfer(phases)
        if self.distinguishable:
            each = torch.view_as_real(columns).square().sum(-1)
            probabilities = self._coefficients(torch.complex(each, torch.zeros_like(each))).real
        else:
            parts = torch.view_as_real(self._coefficients(columns))
            probabilities = parts.square().sum(-1) * self._weights.to(phases.dtype)
        if self.space == "unbunched":
            total = probabilities.sum(-1, keepdim=True)
            probabilities = probabilities / total.clamp_min(torch.finfo(phases.dtype).tiny)
        return probabilities

    def to_merlin(self, replica: int = 0, **options):
        """One replica as a `merlin.QuantumLayer`, with its `options`: (B, m) radians to (B, N)."""
        return to_merlin(self, replica, **options)

    def extra_repr(self) -> str:
        names = ["n_modes", "n_photons", "space", "input_state", "n_replicas"]
        names += ["distinguishable"] * self.distinguishable
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
