"""How many parameters a head has, how many act on data, and how many independent ones there are."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.metrics import pairwise_kernels
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from torch import Tensor, nn

from qllm_helpers.heads.base import Head, ReplicaLinear, expand_replica
from qllm_helpers.heads.photonic import ClassicalTwin, NoisyPhotonicHead, SubsetEncoder
from qllm_helpers.photons.layer import PhotonicLayer

PARTS = ("encoder", "quantum", "readout")
# A gradient that is zero by construction (a phase behind the last beam splitter) comes out as
# float64 rounding, some 1e-16 of the largest one; real ones are far above 1e-12 of it.
_LIVE_TOLERANCE = 1e-12
# Measured for photonic heads on sentences: most genuine singular values are above 1e-10 of the
# largest, those that are zero by construction below 1e-13, and after mixing up to 2e-12.
_RANK_TOLERANCE = 1e-11
# At inputs and weights chosen for it, in all heads of the studies: above 6e-9, and below 1e-12.
_GENERIC_TOLERANCE = 1e-10
_SMALL = 600  # rows or columns of which singular values take a second
_EXPANDED_NUMBERS = 20_000_000  # in the weights of one expanded head: 160 MB in float64
_WIDEST = 40  # numbers through which a head reads the embedding: their square are the columns
_PROBES = 16  # samples on which a parameter of an analytic head shows whether it is live


@dataclass(frozen=True)
class PartCount:
    """A number of parameters, in total and by part; effective parts may add up to more than it."""

    total: int
    encoder: int = 0
    quantum: int = 0
    readout: int = 0


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a head; what was not determined is None.

    Attributes
    ----------
    nominal : PartCount
        Trainable numbers, what papers print.
    live : PartCount or None
        Those that change some logit of some sample, to first order.
    effective : PartCount or None
        Rank of the Jacobian of the logits with respect to the parameters, that is, the number of
        directions in parameter space that change the function on the data.
    """

    nominal: PartCount
    live: PartCount | None = None
    effective: PartCount | None = None


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def jacobians(module: nn.Module, X: Tensor) -> Iterator[Tensor]:
    """Gradients of all logits of a few samples at a time: (classes, samples, trainable numbers)."""
    # A head is expanded to one replica per sample, so one backward pass per class gives the
    # gradients of all samples. Any other module is asked sample by sample.
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


def _gaussian(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def matrix_rank(matrix: Tensor, tolerance: float = _RANK_TOLERANCE) -> int:
    """Number of singular values above `tolerance` of the largest, columns scaled to one length."""
    if matrix.numel() == 0:
        return 0
    # Unscaled features that are nearly zero would sink genuine directions into the rounding.
    scaled = nn.functional.normalize(matrix, dim=0, eps=torch.finfo(matrix.dtype).tiny)
    rows, columns = scaled.shape
    if min(rows, columns) <= _SMALL:
        tall = rows > columns
        values = torch.linalg.svdvals(torch.linalg.qr(scaled, mode="r").R if tall else scaled)
    else:
        # At a fifth of the time: with columns mixed at random, R's diagonal drops to rounding at
        # the rank (Demmel et al. 2007).
        mixed = scaled @ _gaussian(columns, columns)
        values = torch.linalg.qr(mixed, mode="r").R.diagonal().abs()
    return int((values > tolerance * values.max()).sum())


def dimensions(X: Tensor) -> int:
    """Number of independent affine functions on samples (n, d): the rank of X and ones."""
    return matrix_rank(torch.cat([X, torch.ones(len(X), 1, dtype=X.dtype)], 1))


def ranks_on_data(
    module: nn.Module,
    X: Tensor,
    live: dict[str, np.ndarray],
    tolerance: float = _RANK_TOLERANCE,
    parts: Sequence[str] = PARTS,
) -> dict[str, int]:
    """Rank of the Jacobian of a float64 module on `X` (n, d), in total and of each part."""
    keep = torch.from_numpy(np.concatenate([mask.reshape(-1) for mask in live.values()]))
    names = np.repeat(list(live), [mask.sum() for mask in live.values()])
    jacobian = torch.cat([chunk[..., keep].flatten(0, 1) for chunk in jacobians(module, X)])
    columns = {part: torch.from_numpy(np.char.startswith(names, part)) for part in parts}
    ranks = {part: matrix_rank(jacobian[:, own], tolerance) for part, own in columns.items()}
    return {"total": matrix_rank(jacobian, tolerance)} | ranks


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
    return copy


def generic_ranks(head: Head, n_dimensions: int) -> dict[str, int]:
    """Rank of the Jacobian of an analytic head at all weights and data but exceptional ones.

    One number for all seeds and all embeddings with so many :func:`dimensions` and enough samples.
    """
    # The head reads x only through h numbers a(x) = W x + b. Gradients for W are g_j(a) x_i, and
    # directions of x that a(x) does not contain multiply functions of a alone; so each of them
    # adds the rank of (g_1, ..., g_h), those for b, and only the h inputs a need to be looked at.
    n_inputs = max(1, min(_input_map(head).n_out, n_dimensions - 1))
    head = _spread_copy(head, n_inputs)
    offsets = next(name for name, p in head.named_parameters() if p is _input_map(head).bias)
    live = live_parameters(head, _gaussian(_PROBES, n_inputs))
    number = sum(int(live[name].sum()) for name in live if not name.startswith("readout"))
    # rows of two classes may be multiples of each other, so every class alone has enough
    X = _gaussian(head.readout.n_in + number + 32, n_inputs)
    ranks = ranks_on_data(head, X, live, _GENERIC_TOLERANCE, (*PARTS, offsets))
    further = (n_dimensions - 1 - n_inputs) * ranks.pop(offsets)
    return ranks | {name: ranks[name] + further for name in ("total", "encoder")}


def _as_double(module: nn.Module, X) -> tuple[nn.Module, Tensor]:
    """A float64 CPU copy of the module (of its first replica) in evaluation mode, and float64 X."""
    module = module.ideal() if isinstance(module, NoisyPhotonicHead) else module
    module = expand_replica(module, 0, 1) if isinstance(module, Head) else copy.deepcopy(module)
    X = torch.as_tensor(np.asarray(X, dtype=np.float64))
    if X.ndim != 2 or len(X) == 0 or not bool(torch.isfinite(X).all()):
        raise ValueError(f"X must be finite and of shape (n > 0, d), got {tuple(X.shape)}.")
    if isinstance(module, Head) and X.shape[1] != module.n_features:
        raise ValueError(f"X must have {module.n_features} columns, got {X.shape[1]}.")
    return module.to("cpu", torch.float64).eval(), X


def live_parameters(module: nn.Module, X) -> dict[str, np.ndarray]:
    """Masks by name: which numbers of a module or first replica have a gradient on some of X."""
    module, X = _as_double(module, X)
    largest = reduce(torch.maximum, (part.abs().amax((0, 1)) for part in jacobians(module, X)))
    threshold = _LIVE_TOLERANCE * float(largest.max())
    weights, first = trainable(module), int(isinstance(module, Head))
    peaks = largest.split([weight.numel() for weight in weights.values()])
    return {
        name: (peak > threshold).reshape(weight.shape[first:]).numpy()
        for (name, weight), peak in zip(weights.items(), peaks, strict=True)
    }


def effective_parameters(module: nn.Module, X, live: dict[str, np.ndarray]) -> PartCount:
    """Rank of the Jacobian, in total and of each part's columns, from :func:`live_parameters`.

    With enough samples :func:`generic_ranks` counts an analytic head; else it is factorised.
    """
    module, X = _as_double(module, X)
    number = sum(int(mask.sum()) for mask in live.values())
    if has_generic_ranks(module) and len(X) * module.n_classes >= number:
        return PartCount(**generic_ranks(module, dimensions(X)))
    return PartCount(**ranks_on_data(module, X, live))


def _by_part(counts: dict[str, int]) -> PartCount:
    """Add up counts of named parameters by the first component of the name."""
    named = [(name.split(".")[0], count) for name, count in counts.items()]
    parts = {part: sum(count for name, count in named if name == part) for part in PARTS}
    return PartCount(sum(counts.values()), **parts)


def _count_module(module: nn.Module, X) -> ParameterCount:
    replicas = module.n_replicas if isinstance(module, Head) else 1
    weights = trainable(module)
    nominal = _by_part({name: p.numel() // replicas for name, p in weights.items()})
    if X is None or not weights:
        return ParameterCount(nominal)
    live = live_parameters(module, X)
    counts = _by_part({name: int(mask.sum()) for name, mask in live.items()})
    return ParameterCount(nominal, counts, effective_parameters(module, X, live))


def _count_linear(coefficients: np.ndarray, X) -> ParameterCount:
    """Count a linear model whose decision function is X @ coef.T + intercept."""
    n_outputs, n_features = coefficients.shape
    counts = [n_outputs * (n_features + 1)]
    if X is not None:
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != n_features:
            raise ValueError(f"X must be (n, {n_features}), got {X.shape}.")
        # The gradient of an output is the sample itself, and one for the intercept.
        peaks = np.append(np.abs(X).max(0), 1)
        live = int((peaks > _LIVE_TOLERANCE * peaks.max()).sum())
        counts += [n_outputs * live, n_outputs * dimensions(torch.from_numpy(X))]
    return ParameterCount(*(PartCount(n, readout=n) for n in counts))


def _count_kernel_machine(svc: SVC, X) -> ParameterCount:
    """Count the numbers that fitting a kernel SVC determines; support vectors are data."""
    # the dual coefficients, one per other class, and an intercept per pair of classes
    number = svc.dual_coef_.size + svc.intercept_.size
    nominal = PartCount(number, readout=number)
    if X is None:
        return ParameterCount(nominal)
    if svc.kernel == "precomputed":
        kernel = np.asarray(X, dtype=np.float64)[:, svc.support_]
    else:
        options = {"gamma": svc._gamma, "degree": svc.degree, "coef0": svc.coef0}
        options |= {"metric": svc.kernel, "filter_params": True}
        kernel = pairwise_kernels(X, svc.support_vectors_, **options)
    # The decision value of a pair is linear in its own numbers: its gradients are the kernel
    # values of the pair's support vectors, and one.
    columns = np.split(kernel.astype(np.float64), np.cumsum(svc.n_support_)[:-1], axis=1)
    pairs = combinations(columns, 2)
    rank = sum(dimensions(torch.from_numpy(np.hstack(pair))) for pair in pairs)
    return ParameterCount(nominal, effective=PartCount(rank, readout=rank))


def count_parameters(model, X=None) -> ParameterCount:
    """Count the parameters of a fitted classifier or a torch module.

    Parameters
    ----------
    model : fitted estimator, Pipeline, Head, or torch module
        Of a head the first replica is counted; of a pipeline the last step. Frozen parameters do
        not count. Any linear scikit-learn model counts as its coefficients and intercepts, an SVC
        with another kernel as its dual coefficients and intercepts (the paper counts its support
        vectors instead, which are data).
    X : array (n, d), optional
        Data on which parameters are live and effective; with fewer logits (n times C) than
        parameters they limit the rank. For a precomputed kernel, its values with all training
        samples. Unless the head is photonic or a twin, needs memory for n times C times live
        parameters in float64.

    Returns
    -------
    ParameterCount
        Live and effective are None without X. Live is None for kernel SVCs, of which all is live.

    Raises
    ------
    TypeError, ValueError
        If `model` is none of these or not fitted; if X is not finite or has the wrong shape.
    """
    if isinstance(model, Pipeline):
        X = X if X is None or len(model) == 1 else model[:-1].transform(X)
        model = model[-1]
    module = getattr(model, "module_", model)
    if isinstance(module, nn.Module):
        return _count_module(module, X)
    if isinstance(model, SVC) and model.kernel != "linear" and hasattr(model, "dual_coef_"):
        return _count_kernel_machine(model, X)
    linear = all(hasattr(model, name) for name in ("coef_", "intercept_"))
    if isinstance(model, BaseEstimator) and linear:
        return _count_linear(np.atleast_2d(model.coef_), X)
    raise TypeError(
        f"cannot count the parameters of {type(model).__name__}: pass a torch module, or a fitted "
        "estimator of this package, linear model of scikit-learn or SVC."
    )
