"""Heads around the photonic layer: embedding -> phases -> Fock probabilities -> logits.

Classical twins take the layer's place (after Bowles et al., arXiv 2403.07059; maps: our choice).
"""

import copy
import math
import warnings
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from qllm_helpers import checks
from qllm_helpers.heads.base import DrawingModule, Head, ReplicaLinear, fill, select_replica
from qllm_helpers.photons.layer import PhotonicLayer
from qllm_helpers.photons.merlin import to_merlin
from qllm_helpers.photons.noise import Noise, divided, draw_features, perturb, recorded

#: The twins, and what takes the place of the photonic layer.
TWINS = {
    None: "nothing: the photonic layer itself",
    "distinguishable": "the same interferometers, photons that do not interfere with each other",
    "frozen": "the same interferometers at their random start, never trained",
    "cosine": "cosines and sines of linear combinations of the phases",
    "linear": "a linear map (two square factors) of the phases",
    "identity": "the phases themselves: the head is a linear map of rank m",
}
# Streams of random numbers of one seed: the chip's own errors, and everything drawn for a sentence.
_CHIP, _SENTENCES = 2, 3
# At the full rate free matrices fit the training sentences by themselves, which no mesh can: on
# TREC the linear twin then stays three points below the linear map that it is (measured).
_TWIN_RATE = 0.1


class SubsetEncoder(nn.Module):
    """The encoding of the earlier reproduction, that is, of MerLin 0.1: sigmoid, sums over subsets.

    Phase j is pi times the sum of the features i whose bit is set in j + 1; the last mode has none.
    """

    def __init__(self, n_replicas: int, n_features: int, n_modes: int, hidden_dim: int = 100):
        super().__init__()
        needed = (n_modes - 1).bit_length()
        hidden_dim = checks.integer(f"hidden_dim for {n_modes} modes", hidden_dim, needed)
        self.read = ReplicaLinear(n_replicas, n_features, needed)
        if hidden_dim > needed:
            # Rows that no phase reads (97 of 100 with 8 modes) are parameters, kept for the
            # published counts; their products would be multiplied by zero and are not computed.
            self.unread = ReplicaLinear(n_replicas, n_features, hidden_dim - needed)
        member = torch.zeros(needed, n_modes)
        subset = torch.arange(1, n_modes)
        member[:, : n_modes - 1] = subset[None, :] >> torch.arange(needed)[:, None] & 1
        self.register_buffer("_member", math.pi * member, persistent=False)

    def forward(self, X: Tensor) -> Tensor:
        """Map embeddings (R, B, d) to phases (R, B, m) in radians."""
        return torch.sigmoid(self.read(X)) @ self._member


class Occupation(nn.Module):
    """Mean photon number of every mode: (R, B, N) probabilities -> (R, B, m)."""

    def __init__(self, basis: Sequence[Sequence[int]]) -> None:
        super().__init__()
        states = torch.tensor(basis, dtype=torch.float32)
        self.register_buffer("_occupations", states, persistent=False)

    def forward(self, probabilities: Tensor) -> Tensor:
        return probabilities @ self._occupations


class ClassicalTwin(nn.Module):
    """Phases (R, B, m) to features (R, B, N) by matrices A, B (R, m, m), as large as meshes.

    Parameters are ten times A and B, which therefore learn at a tenth of the rate.

    out_t = (1 + t . B A phi) / N for every output state t ("linear"), or ("cosine") with
    the frequencies of n photons: (1 + (cos(t . A phi) + sin(t . B phi)) / 2) / N.
    """

    def __init__(self, layer: PhotonicLayer, kind: str) -> None:
        super().__init__()
        self.n_replicas, self.n_outputs, self.kind = layer.n_replicas, layer.n_outputs, kind
        shape = (layer.n_replicas, layer.n_modes, layer.n_modes)
        self.first, self.second = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape))
        states = torch.tensor(layer.basis, dtype=torch.float32)
        self.register_buffer("_occupations", states, persistent=False)

    def reset_parameters(self, generators: Sequence[torch.Generator]) -> None:
        """Draw rotations, which keep the scale of a phase, as a mesh does."""
        for matrix in (self.first, self.second):
            fill(matrix, generators, lambda drawn: torch.linalg.qr(drawn).Q / _TWIN_RATE)

    def forward(self, phases: Tensor) -> Tensor:
        first, second = _TWIN_RATE * self.first, _TWIN_RATE * self.second
        mixed = torch.bmm(phases, first)
        if self.kind == "linear":
            return (1 + torch.bmm(mixed, second) @ self._occupations.mT) / self.n_outputs
        waves = torch.cos(mixed @ self._occupations.mT)
        waves = waves + torch.sin(torch.bmm(phases, second) @ self._occupations.mT)
        return (1 + waves / 2) / self.n_outputs


class TwoStage(nn.Module):
    """E layers (the paper's "multi sQE") whose mean photon numbers are the phases of one more.

    Both stages are read, (R, B, E m) radians to (R, B, 2 E m) photons; we concatenate E outputs.
    """

    def __init__(self, layer_options: dict, n_encoders: int) -> None:
        super().__init__()
        n_modes = layer_options["n_modes"]
        # the wide layer first: it is the one that may be too large
        wide = {**layer_options, "n_modes": n_encoders * n_modes, "input_state": None}
        second = PhotonicLayer(**wide)
        self.first = nn.ModuleList(PhotonicLayer(**layer_options) for _ in range(n_encoders))
        self.occupation = Occupation(self.first[0].basis)
        self.n_modes, self.second = n_modes, second
        self.second_occupation = Occupation(second.basis)
        self.n_outputs = 2 * n_encoders * n_modes

    def forward(self, phases: Tensor) -> Tensor:
        pairs = zip(self.first, phases.split(self.n_modes, dim=2), strict=True)
        latent = torch.cat([self.occupation(layer(part)) for layer, part in pairs], dim=2)
        second = self.second(latent * (math.pi / self.second.n_photons))
        return torch.cat([latent, self.second_occupation(second)], dim=2)


class PhotonicHead(Head):
    """Linear map to phases, photonic layer or its twin, linear map (see `PhotonicClassifier`)."""

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_modes: int = 8,
        n_photons: int = 2,
        *,
        encoding: str = "dense",
        hidden_dim: int | None = None,
        space: str = "fock",
        readout: str = "probabilities",
        twin: str | None = None,
        n_encoders: int | None = None,
        input_state: Sequence[int] | None = None,
        phase_scale: float = 1.0,
        output_scale: float | None = None,
        n_replicas: int = 1,
    ) -> None:
        super().__init__(n_features, n_classes, n_replicas)
        n_modes = checks.integer("n_modes", n_modes, 2)
        checks.choice("encoding", encoding, ("dense", "subset"))
        checks.choice("readout", readout, ("probabilities", "occupation"))
        checks.choice("twin", twin, TWINS)
        if hidden_dim is not None and encoding == "dense":
            raise ValueError("hidden_dim belongs to encoding='subset'; leave it None for 'dense'.")
        circuit = {"n_modes": n_modes, "n_photons": n_photons, "space": space}
        circuit |= {"input_state": input_state, "n_replicas": self.n_replicas}
        # The encoder first: circuits take longer to find out that they are too large.
        width = n_modes * (1 if n_encoders is None else checks.integer("n_encoders", n_encoders))
        kind = SubsetEncoder if encoding == "subset" else ReplicaLinear
        hidden = () if hidden_dim is None else (hidden_dim,)
        encoder = kind(self.n_replicas, self.n_features, width, *hidden)
        plain = (encoding, twin, readout) == ("dense", None, "probabilities")
        self.quantum, n_outputs = _quantum_part(circuit, twin, readout, n_encoders, plain)
        self.encoder = encoder
        sized = readout == "probabilities" and n_encoders is None
        self.scales = _scales(phase_scale, output_scale, n_outputs if sized else 1.0)
        self.readout = ReplicaLinear(self.n_replicas, n_outputs, self.n_classes)
        self.reset_parameters(range(self.n_replicas))

    @torch.no_grad()
    def check_inputs(self, X) -> None:
        """Warn where phases wrap around many times before any training."""
        if isinstance(self.encoder, SubsetEncoder):  # a sigmoid bounds its phases
            return
        sample = torch.as_tensor(np.asarray(X), dtype=self.readout.weight.dtype)[..., :256, :]
        phases = self.encoder(sample.expand(self.n_replicas, *sample.shape[-2:]))
        spread = float(self.scales["encoder"] * phases.std())
        if spread > 2 * math.pi:  # a head cannot learn
            warnings.warn(
                f"phases spread over {spread:,.0f} radians at the start, so that they wrap around: "
                "standardise the features (sklearn.preprocessing.StandardScaler) or lower "
                "phase_scale.",
                stacklevel=2,
            )


def _scales(phase_scale: float, output_scale: float | None, size: float) -> dict[str, float]:
    # probabilities are of size 1 / N, mean photon numbers of size 1
    output_scale = size if output_scale is None else output_scale
    return {
        "encoder": checks.real("phase_scale", phase_scale, open_below=True),
        "quantum": checks.real("output_scale", output_scale, open_below=True),
    }


def _quantum_part(layer_options: dict, twin, readout, n_encoders, plain: bool) -> tuple:
    """The photonic layer or what stands for it (None for "identity"), and its number of outputs."""
    if n_encoders is not None:
        if not plain:
            raise ValueError("n_encoders needs encoding='dense' and the default readout and twin.")
        stages = TwoStage(layer_options, n_encoders)
        return stages, stages.n_outputs
    layer = PhotonicLayer(**layer_options, distinguishable=twin == "distinguishable")
    if twin == "identity":
        return None, layer.n_modes
    layer.requires_grad_(twin != "frozen")
    part = ClassicalTwin(layer, twin) if twin in ("cosine", "linear") else layer
    if readout == "occupation":
        return nn.Sequential(part, Occupation(layer.basis)), layer.n_modes
    return part, layer.n_outputs


class NoisyLayer(DrawingModule):
    """A `PhotonicLayer` seen through imperfections and `n_shots` attempts while ``active``."""

    def __init__(self, layer: PhotonicLayer, noise: Noise, n_shots: int | None = None) -> None:
        super().__init__()
        self.layer, self.noise, self.active = layer, noise, True
        self.n_shots = None if n_shots is None else checks.integer("n_shots", n_shots)
        self._seeds = list(range(layer.n_replicas))

    def _seed_from(self, generator: torch.Generator) -> int:
        # without drawing from it: the layer's weights stay those of the ideal head with this seed
        return generator.initial_seed()

    def _stream(self, seed: int) -> np.random.Generator:
        return np.random.default_rng([seed, _SENTENCES])

    def forward(self, phases: Tensor) -> Tensor:
        """Map phases (R, B, m) in radians to frequencies (R, B, N) of the layer's outputs."""
        if not self.active or (self.noise == Noise() and self.n_shots is None):
            return self.layer(phases)
        # the same errors every time: a generator anew for each chip, which sets its two meshes
        chips = [np.random.default_rng([seed, _CHIP]) for seed in self._seeds]
        chip = tuple(perturb(m, self.noise, chips) for m in (self.layer.left, self.layer.right))
        phases = perturb(phases, self.noise, self.streams())
        probabilities = recorded(self.layer, phases, self.noise, chip)
        return draw_features(probabilities, self.n_shots, self.noise.post_select, self.streams())


class NoisyPhotonicHead(PhotonicHead):
    """`PhotonicHead` with a `NoisyLayer` in the middle: the same weights from the same seed."""

    def __init__(self, *sizes: int, noise: Noise, n_shots: int | None = None, **options) -> None:
        super().__init__(*sizes, **options)
        if not isinstance(self.quantum, PhotonicLayer):
            raise ValueError("Only the probabilities of a single photonic layer can be noisy.")
        self.quantum = NoisyLayer(self.quantum, noise, n_shots)
        self.reset_parameters(range(self.n_replicas))

    def ideal(self) -> PhotonicHead:
        """The head with the same weights (the same tensors) and a perfect machine."""
        head = copy.copy(self)
        head._modules = {**self._modules, "quantum": self.quantum.layer}
        head.__class__ = PhotonicHead
        return head


@torch.no_grad()
def _copy_weights(source: Head, target: Head) -> None:
    # by name; MerLin's phases have no replica dimension
    theirs = dict(source.named_parameters())
    for name, ours in target.named_parameters():
        ours.copy_(theirs[name].view_as(ours))


class MerlinHead(Head):
    """Linear map to phases, one `merlin.QuantumLayer`, linear map of its probabilities to logits.

    With `noise`, a `perceval.NoiseModel`, `post_select` divides probabilities by their sum.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_modes: int = 4,
        n_photons: int = 2,
        *,
        noise=None,
        post_select: bool = True,
        dtype: torch.dtype = torch.float32,
        n_replicas: int = 1,
        **circuit,
    ) -> None:
        super().__init__(n_features, n_classes, n_replicas)
        if self.n_replicas != 1:
            raise ValueError(f"one circuit, not n_replicas={n_replicas}: use a PhotonicHead.")
        self._options = {"n_modes": n_modes, "n_photons": n_photons, **circuit}
        fast = PhotonicHead(n_features, n_classes, **self._options).to(dtype)
        # The encoder comes first: the loop reads the number of replicas off the first parameter.
        self.encoder, self.quantum = fast.encoder, to_merlin(fast.quantum, noise=noise)
        # A noisy layer has outputs with photons missing or too many, which the readout never saw.
        keys = [tuple(key) for key in self.quantum.output_keys]
        basis = fast.quantum.basis
        self._places = None if keys == basis else [keys.index(state) for state in basis]
        self._post_select = post_select
        self.readout, self.scales = fast.readout, fast.scales
        self.reset_parameters([0])

    @classmethod
    def from_photonic(
        cls, head: PhotonicHead, replica: int = 0, *, noise=None, post_select: bool = True
    ) -> Self:
        """Replica `replica` of `head` with MerLin's layer in the middle."""
        dense = isinstance(getattr(head, "encoder", None), ReplicaLinear)
        layer = getattr(head, "quantum", None)
        if not dense or not isinstance(layer, PhotonicLayer) or layer.distinguishable:
            known = "encoding='dense', readout='probabilities' and no twin"
            raise ValueError(f"Only a PhotonicHead with {known} has a MerLin counterpart.")
        replica = checks.integer("replica", replica, 0, head.n_replicas - 1)
        names = ("n_modes", "n_photons", "space", "input_state")
        circuit = {name: getattr(layer, name) for name in names}
        options = {"noise": noise, "post_select": post_select, "dtype": layer.left.dtype}
        converted = cls(head.n_features, head.n_classes, **circuit, **options)
        converted.scales = head.scales
        _copy_weights(select_replica(head, replica), converted)
        return converted

    def to_photonic(self) -> PhotonicHead:
        """The same weights with the fast engine (R = 1); noise is left behind."""
        head = PhotonicHead(self.n_features, self.n_classes, **self._options)
        head = head.to(self.encoder.weight.dtype)
        head.scales = self.scales
        _copy_weights(self, head)
        return head

    def reset_parameters(self, seeds: Sequence[int]) -> None:
        """Draw all weights anew: those that a `PhotonicHead` draws from the same seed."""
        fresh = self.to_photonic()
        fresh.reset_parameters(seeds)
        _copy_weights(fresh, self)

    def _phases(self, X: Tensor) -> Tensor:
        return self.encoder(X)[0] * self.scales["encoder"]

    def _logits(self, probabilities: Tensor) -> Tensor:
        return self.readout(probabilities.unsqueeze(0) * self.scales["quantum"])

    def forward(self, X: Tensor) -> Tensor:
        """Map embeddings (1, B, d) to logits (1, B, C)."""
        probabilities = self.quantum(self._phases(X))
        if self._places is not None:
            probabilities = divided(probabilities[:, self._places], self._post_select)
        return self._logits(probabilities)

    @torch.no_grad()
    def logits_on(self, processor, X: Tensor, n_shots: int) -> Tensor:
        """Logits (B, C) of embeddings (B, d): of each one, `n_shots` on a `MerlinProcessor`."""
        phases = self._phases(X.unsqueeze(0))
        seen = processor.forward(self.quantum.eval(), phases, nsample=int(n_shots))
        return self._logits(seen.to(phases.dtype))[0]

    def take_replicas(self, indices: Sequence[int]) -> None:
        """Refused: MerLin's phases have no replica dimension."""
        raise ValueError("A MerlinHead holds one circuit: call to_photonic() on it first.")
