"""How many parameters a head has, how many act on data, and how many independent ones there are.

* *nominal*: trainable numbers, what papers print;
* *live*: those that change some logit of some sample, to first order;
* *effective*: the rank of the Jacobian of the logits with respect to the parameters, that is, the
  number of directions in parameter space that change the function on the data.

The distinction is ours; the earlier reproduction prints nominal counts, of which most are dead.
"""

import copy
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

from qllm_helpers.heads.base import Head, expand_replica
from qllm_helpers.heads.rank import (
    LIVE_TOLERANCE,
    PARTS,
    dimensions,
    generic_ranks,
    has_generic_ranks,
    jacobians,
    matrix_rank,
    ranks_on_data,
    trainable,
)


@dataclass(frozen=True)
class PartCount:
    """A number of parameters, in total and by part of the head.

    For effective counts each part is the rank of its own columns; the total may be smaller than
    their sum, because parts can undo each other.
    """

    total: int
    encoder: int = 0
    quantum: int = 0
    readout: int = 0


@dataclass(frozen=True)
class ParameterCount:
    """Nominal, live and effective parameters; the last two are None if they were not determined."""

    nominal: PartCount
    live: PartCount | None = None
    effective: PartCount | None = None


def _as_double(module: nn.Module, X) -> tuple[nn.Module, Tensor]:
    """A float64 CPU copy of the module (of its first replica) in evaluation mode, and float64 X."""
    module = expand_replica(module, 0, 1) if isinstance(module, Head) else copy.deepcopy(module)
    X = torch.as_tensor(np.asarray(X, dtype=np.float64))
    if X.ndim != 2 or len(X) == 0 or not bool(torch.isfinite(X).all()):
        raise ValueError(f"X must be finite and of shape (n > 0, d), got {tuple(X.shape)}.")
    if isinstance(module, Head) and X.shape[1] != module.n_features:
        raise ValueError(f"X must have {module.n_features} columns, got {X.shape[1]}.")
    return module.to("cpu", torch.float64).eval(), X


def live_parameters(module: nn.Module, X) -> dict[str, np.ndarray]:
    """Which parameters act on data: those with a non-zero gradient of some logit of some sample.

    Parameters
    ----------
    module : Head (its first replica), or a module that maps (n, d) to logits (n, C)
    X : array (n, d)

    Returns
    -------
    dict of bool arrays
        By parameter name, in the shape of the parameter without its replica dimension.

    Raises
    ------
    ValueError
        If X is not finite or has the wrong shape.
    """
    module, X = _as_double(module, X)
    largest = reduce(torch.maximum, (jac.abs().amax((0, 1)) for jac in jacobians(module, X)))
    threshold = LIVE_TOLERANCE * float(largest.max())
    weights, first = trainable(module), int(isinstance(module, Head))
    peaks = largest.split([weight.numel() for weight in weights.values()])
    return {
        name: (peak > threshold).reshape(weight.shape[first:]).numpy()
        for (name, weight), peak in zip(weights.items(), peaks, strict=True)
    }


def effective_parameters(module: nn.Module, X, live: dict[str, np.ndarray]) -> PartCount:
    """Rank of the Jacobian, in total and of each part's columns, of parameters that are `live`.

    Of an analytic head (a photonic one, any of its twins) it is the same for all weights and data
    but exceptional ones, and is found without a large matrix
    (:func:`qllm_helpers.heads.rank.generic_ranks`); so all seeds of a head have one count. Of
    any other module, and on fewer logits than live parameters, the Jacobian itself is factorised.
    Arguments are those of :func:`live_parameters`, and what it returns.
    """
    module, X = _as_double(module, X)
    number = sum(int(mask.sum()) for mask in live.values())
    if has_generic_ranks(module) and len(X) * module.n_classes >= number:
        return PartCount(**generic_ranks(module, dimensions(X)))
    return PartCount(**ranks_on_data(module, X, live))


def _by_part(counts: dict[str, int]) -> PartCount:
    """Add up counts of named parameters by the first component of the name."""
    parts = dict.fromkeys(PARTS, 0)
    for name, count in counts.items():
        if (part := name.split(".")[0]) in parts:
            parts[part] += count
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
    nominal = n_outputs * (n_features + 1)
    if X is None:
        return ParameterCount(PartCount(nominal, readout=nominal))
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != n_features:
        raise ValueError(f"X must be (n, {n_features}), got {X.shape}.")
    # The gradient of an output is the sample itself, and one for the intercept.
    design = np.hstack([X, np.ones((len(X), 1))])
    peaks = np.abs(design).max(0)
    live = n_outputs * int((peaks > LIVE_TOLERANCE * peaks.max()).sum())
    rank = n_outputs * matrix_rank(torch.from_numpy(design))
    return ParameterCount(*(PartCount(n, readout=n) for n in (nominal, live, rank)))


def _count_kernel_machine(svc: SVC, X) -> ParameterCount:
    """Count the numbers that fitting a kernel SVC determines.

    They are the dual coefficients of the support vectors (one per other class) and an intercept
    per pair of classes; the vectors themselves are training data. The decision value of a pair is
    linear in its own: its gradients are the kernel values of the pair's support vectors, and one.
    """
    number = svc.dual_coef_.size + svc.intercept_.size
    nominal = PartCount(number, readout=number)
    if X is None:
        return ParameterCount(nominal)
    if svc.kernel == "precomputed":
        kernel = np.asarray(X, dtype=np.float64)[:, svc.support_]
    else:
        options = {"gamma": svc._gamma, "degree": svc.degree, "coef0": svc.coef0}
        kernel = pairwise_kernels(
            X, svc.support_vectors_, metric=svc.kernel, filter_params=True, **options
        )
    columns = np.split(kernel, np.cumsum(svc.n_support_)[:-1], axis=1)
    ones = np.ones((len(kernel), 1))
    designs = (np.hstack([*pair, ones]) for pair in combinations(columns, 2))
    rank = sum(matrix_rank(torch.from_numpy(design)) for design in designs)
    return ParameterCount(nominal, effective=PartCount(rank, readout=rank))


def count_parameters(model, X=None) -> ParameterCount:
    """Count the parameters of a fitted classifier or a torch module.

    Parameters
    ----------
    model : fitted estimator, Pipeline, Head, or torch module
        Of a head the first replica is counted; of a pipeline the last step. Frozen parameters do
        not count. Any linear scikit-learn model counts as its coefficients and intercepts (a linear
        SVC in its primal form). An SVC with another kernel counts as its dual coefficients and
        intercepts; the paper counts its support vectors instead (``n_support_.sum()``), although a
        support vector is data and no parameter. For a precomputed kernel, X holds the kernel
        values of data with all training samples.
    X : array (n, d), optional
        Data on which parameters are live and effective. As many logits (n times C) as parameters
        are needed for the rank not to be limited by the data. Unless the head is photonic or a
        twin, needs memory for n times C times live parameters in float64.

    Returns
    -------
    ParameterCount
        Live and effective are None without X. Live is None for kernel SVCs: all that is counted
        of them is live.

    Raises
    ------
    TypeError
        If `model` is none of these, or is not fitted.
    ValueError
        If X is not finite or has the wrong shape.
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
        f"cannot count the parameters of {type(model).__name__}: pass a fitted estimator of this "
        "package, a torch module, or a fitted scikit-learn linear model or SVC."
    )
