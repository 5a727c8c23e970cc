"""Ranks of Jacobians: how many directions in parameter space change a head's logits.

*On data* the matrix itself is factorised, which takes minutes for a few thousand parameters. A
photonic head, or any other analytic one, needs less: see :func:`generic_ranks`.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from qllm_helpers.heads.base import Head, ReplicaLinear, expand_replica
from qllm_helpers.heads.photonic import SubsetEncoder
from qllm_helpers.heads.twins import ClassicalTwin
from qllm_helpers.photons.layer import PhotonicLayer

PARTS = ("encoder", "quantum", "readout")
#: A gradient that is zero by construction (a phase behind the last beam splitter) comes out as
#: float64 rounding, some 1e-16 of the largest one; real ones are far above 1e-12 of it.
LIVE_TOLERANCE = 1e-12
# Measured gap for photonic heads on sentences: most genuine singular values are above 1e-10 of the
# largest, those that are zero by construction come out below 1e-13, and after mixing, which now
# and then is ill-conditioned, up to 2e-12. The cut lies between.
_RANK_TOLERANCE = 1e-11
# At inputs and weights that are chosen for it the gap is wider: in all heads of the studies the
# genuine ones are above 6e-9, the others below 1e-12.
_GENERIC_TOLERANCE = 1e-10
# Matrices up to this many rows or columns: singular values, in a second.
_SMALL = 600
# Numbers in the weights of one expanded head: 160 MB in float64.
_EXPANDED_NUMBERS = 20_000_000
# Numbers through which a head may read the embedding: the matrix has the square of it as columns.
_WIDEST = 40
# Samples on which a parameter of an analytic head shows whether it is live.
_PROBES = 16


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def jacobians(module: nn.Module, X: Tensor) -> Iterator[Tensor]:
    """Gradients of every logit of a few samples at a time: (classes, samples, trainable numbers).

    A head is expanded to one replica per sample, so one backward pass per class gives the gradients
    of all samples. Any other module is asked sample by sample.
    """
    expandable = isinstance(module, Head)
    numbers = sum(parameter.numel() for parameter in module.parameters())
    chunk = max(1, min(256, _EXPANDED_NUMBERS // max(1, numbers))) if expandable else 1
    for samples in X.split(chunk):
        copies = expand_replica(module, 0, len(samples)) if expandable else module
        logits = copies(samples[:, None] if expandable else samples).reshape(len(samples), -1)
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        rows = []
        for column in logits.sum(0):
            gradients = torch.autograd.grad(column, list(trainable(copies).values()), **options)
            rows.append(torch.cat([one.reshape(len(samples), -1) for one in gradients], 1))
        yield torch.stack(rows)


def _unit_columns(matrix: Tensor) -> Tensor:
    """Columns scaled to one length: that changes no rank, and lets weak features count."""
    return nn.functional.normalize(matrix, dim=0, eps=torch.finfo(matrix.dtype).tiny)


def _gaussian(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def matrix_rank(matrix: Tensor, tolerance: float = _RANK_TOLERANCE) -> int:
    """Number of singular values above `tolerance` of the largest, columns scaled to one length.

    Without scaling, features that are nearly zero for every sentence would sink genuine directions
    into the rounding. A large matrix is mixed with a Gaussian one and factorised as Q R, whose
    diagonal drops from the singular values' scale to rounding at the rank (Demmel, Dumitriu and
    Holtz, Numer. Math. 108, 2007), at a fifth of the time.
    """
    if matrix.numel() == 0:
        return 0
    scaled = _unit_columns(matrix)
    if min(scaled.shape) <= _SMALL:
        values = _singular_values(scaled)
    else:
        mixed = scaled @ _gaussian(scaled.shape[1], scaled.shape[1])
        values = torch.linalg.qr(mixed, mode="r").R.diagonal().abs()
    return int((values > tolerance * values.max()).sum())


def _singular_values(matrix: Tensor) -> Tensor:
    if matrix.shape[0] > matrix.shape[1]:
        matrix = torch.linalg.qr(matrix, mode="r").R
    return torch.linalg.svdvals(matrix)


def ranks_on_data(module: nn.Module, X: Tensor, live: dict[str, np.ndarray]) -> dict[str, int]:
    """Rank of the Jacobian on `X` (n, d), in total and of each part's live columns.

    The module is in float64 and evaluation mode.
    """
    keep = torch.from_numpy(np.concatenate([mask.reshape(-1) for mask in live.values()]))
    part_of = np.repeat([name.split(".")[0] for name in live], [m.sum() for m in live.values()])
    jacobian = torch.cat([chunk[..., keep].flatten(0, 1) for chunk in jacobians(module, X)])
    ranks = {part: matrix_rank(jacobian[:, torch.from_numpy(part_of == part)]) for part in PARTS}
    return {"total": matrix_rank(jacobian)} | ranks


def _input_map(module: nn.Module) -> ReplicaLinear | None:
    """The affine map through which alone an analytic head reads the embedding, if it has one."""
    analytic = isinstance(module, Head) and type(module).forward is Head.forward
    if not analytic or any(isinstance(part, nn.ReLU) for part in module.modules()):
        return None
    encoder = getattr(module, "encoder", None)
    first = encoder.read if isinstance(encoder, SubsetEncoder) else encoder
    ends = (first, getattr(module, "readout", None))
    return first if all(isinstance(e, ReplicaLinear) and e.bias is not None for e in ends) else None


def has_generic_ranks(module: nn.Module) -> bool:
    """Whether :func:`generic_ranks` can count a module: an analytic head behind a narrow map."""
    first = _input_map(module)
    return first is not None and first.n_out <= _WIDEST


def dimensions(X: Tensor) -> int:
    """Number of independent affine functions on samples (n, d): the rank of X and ones."""
    return matrix_rank(torch.cat([X, torch.ones(len(X), 1, dtype=X.dtype)], 1))


def _spread_copy(head: Head, n_inputs: int) -> Head:
    """Copy of a head with `n_inputs` inputs and weights at which rounding hides no direction."""
    copy = expand_replica(head, 0, 1).to("cpu", torch.float64).eval()
    copy.reset_parameters([0])
    first = _input_map(copy)
    # Standard normal inputs give phases with a deviation of two radians: all of the circle.
    weight = 2 * torch.linalg.qr(_gaussian(first.n_out, n_inputs)).Q.T
    first.weight, first.n_in = nn.Parameter(weight[None].clone()), n_inputs
    copy.n_features = n_inputs
    generator = torch.Generator().manual_seed(1)
    for layer in copy.modules():
        # Interferometers near balance mix all modes; with phases from the whole circle, twelve
        # modes have directions of 1e-13 of the largest. Twins turn phases without stretching.
        if isinstance(layer, PhotonicLayer):
            for phases in (layer.left.data, layer.right.data):
                phases.uniform_(1.0, 2.0, generator=generator)
        if isinstance(layer, ClassicalTwin):
            for matrix in (layer.first.data, layer.second.data):
                matrix.copy_(torch.linalg.qr(matrix.normal_(generator=generator)).Q)
    copy.readout.requires_grad_(False)
    return copy


def _features(head: Head, X: Tensor) -> Tensor:
    """What the last linear map reads, (n, N)."""
    with torch.no_grad():
        features, quantum = head.encoder(X[None]), getattr(head, "quantum", None)
        return (features if quantum is None else quantum(features))[0]


def _readout_basis(features: Tensor) -> Tensor:
    """Orthonormal basis of the span of the features and one."""
    centred = features - features.mean(0)
    lengths = centred.norm(dim=0)
    constant = lengths <= _GENERIC_TOLERANCE * features.norm(dim=0)
    centred = centred / torch.where(constant, torch.full_like(lengths, math.inf), lengths)
    spanning = torch.cat([centred, torch.full_like(centred[:, :1], len(centred) ** -0.5)], 1)
    Q, R = torch.linalg.qr(spanning @ _gaussian(spanning.shape[1], spanning.shape[1]))
    sizes = R.diagonal().abs()
    return Q[:, : int((sizes > _GENERIC_TOLERANCE * sizes.max()).sum())]


def generic_ranks(head: Head, n_dimensions: int) -> dict[str, int]:
    """Rank of the Jacobian of an analytic head at all weights and data but exceptional ones.

    The logits are analytic in weights and inputs, so the rank is that of a space of functions: one
    number for all seeds and all embeddings that have the same number of dimensions and enough
    samples. It is found at weights and inputs where rounding hides nothing, and exactly:

    * The head reads x only through h numbers a(x) = W x + b. Gradients for W are g_j(a) x_i, and
      directions of x that a(x) does not contain multiply functions of a alone; so each of them
      adds the rank of (g_1, ..., g_h), and only the h inputs a need to be looked at.
    * Columns of the last linear map are the features it reads, once for each class; the others
      are projected on the complement of their span.

    `n_dimensions` are those of the data, see :func:`dimensions`.
    """
    n_inputs = max(1, min(_input_map(head).n_out, n_dimensions - 1))
    head = _spread_copy(head, n_inputs)
    live = _live_on_probes(head, n_inputs)
    # rows of two classes may be multiples of each other, so every class alone has enough
    X = _gaussian(head.readout.n_in + int(live.sum()) + 32, n_inputs)
    basis = _readout_basis(_features(head, X))
    columns = torch.cat(list(jacobians(head, X)), 1)[:, :, live]
    names = np.repeat(list(trainable(head)), [p.numel() for p in trainable(head).values()])
    names = names[live.numpy()].astype(str)

    def rank(start: str, end: str = "") -> int:
        mask = np.char.startswith(names, start) & np.char.endswith(names, end)
        return matrix_rank(columns[:, :, torch.from_numpy(mask)].flatten(0, 1), _GENERIC_TOLERANCE)

    further = (n_dimensions - 1 - n_inputs) * rank("encoder", "bias")
    ranks = {"encoder": further + rank("encoder"), "quantum": rank("quantum")}
    ranks["readout"] = head.n_classes * basis.shape[1]
    return {"total": further + ranks["readout"] + _rank_beside(columns, basis)} | ranks


def _live_on_probes(head: Head, n_inputs: int) -> Tensor:
    """Which trainable numbers change a logit of a few samples, compared with the features."""
    X = _gaussian(_PROBES, n_inputs)
    peaks = torch.cat(list(jacobians(head, X)), 1).abs().amax((0, 1))
    largest = max(float(peaks.max()), float(_features(head, X).abs().max()))
    return peaks > LIVE_TOLERANCE * largest


def _rank_beside(columns: Tensor, basis: Tensor) -> int:
    """Rank of columns (C, n, p) after the projection on the complement of a basis (n, k)."""
    rest = _unit_columns(columns.flatten(0, 1)).reshape(columns.shape)
    for _ in range(2):  # once more, because the first projection leaves rounding
        rest = rest - basis @ (basis.mT @ rest)
    # columns had length one: a column that was inside the span must not be scaled up again
    return int((_singular_values(rest.flatten(0, 1)) > _GENERIC_TOLERANCE).sum())
