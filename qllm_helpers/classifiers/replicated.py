"""Base class of the scikit-learn classifiers, and one run that fits many seeds at once.

Features are used as given, in float32: nothing is standardised.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from qllm_helpers.heads.base import Head, select_replica
from qllm_helpers.training.loop import TrainingOptions, TrainingResult, compute_logits, train

__all__ = ["ReplicatedClassifier", "fit_many", "plain_fields"]


def plain_fields(options: type) -> type:
    """Base class with the fields of an options class: it stores values and checks none.

    An estimator that inherits it has these parameters; the options themselves, which check their
    values, are created from it when the head is built (scikit-learn wants constructors that only
    store).

    Parameters
    ----------
    options : type
        A dataclass whose fields all have defaults.

    Returns
    -------
    type
        A dataclass with these fields, in order.
    """
    plain = [(one.name, one.type, field(default=one.default)) for one in fields(options)]
    return make_dataclass(f"Plain{options.__name__}", plain, eq=False, repr=False)


def _seed_of(random_state) -> int:
    """Return an integer random_state itself, or a seed drawn from anything else sklearn accepts."""
    generator = check_random_state(random_state)
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(generator.randint(2**31 - 1))


# A dataclass, so that the parameters that all share are written once: its constructor does nothing
# but store, which is what scikit-learn asks for.
@dataclass(eq=False, repr=False, kw_only=True)
class ReplicatedClassifier(ClassifierMixin, BaseEstimator):
    """Base class: fits a head with `train` and predicts with it.

    A subclass is a dataclass whose fields are its own parameters, and implements `_build_head`.
    """

    epochs: int = 60
    lr: float = 5e-3
    batch_size: int = 32
    weight_decay: float = 0.0
    patience: int | None = None
    device: str = "cpu"
    progress: bool = False
    random_state: object = None

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        """Return an untrained head; raise ValueError if the parameters describe none."""
        raise TypeError(f"{type(self).__name__} must define _build_head.")

    def _options(self) -> TrainingOptions:
        """Training options of this estimator; raises ValueError if one is invalid."""
        names = ("epochs", "lr", "batch_size", "weight_decay", "patience", "device", "progress")
        return TrainingOptions(**{name: getattr(self, name) for name in names})

    def _set_fitted(self, head: Head, classes, result: TrainingResult, r: int) -> None:
        """Store the outcome of replica `r`."""
        self.classes_ = classes
        self.n_features_in_ = head.n_features
        self.module_ = head
        rows = result.history[result.history["replica"] == r]
        self.history_ = rows.drop(columns="replica").reset_index(drop=True)
        self.best_epoch_ = int(result.best_epoch[r])
        self.validation_accuracy_ = float(result.best_validation_accuracy[r])
        self.validation_loss_ = float(result.best_validation_loss[r])

    def fit(self, X, y, X_val=None, y_val=None):
        """Fit on (X, y), keeping the weights of the best epoch on (X_val, y_val).

        Parameters
        ----------
        X : array (n, d)
        y : array (n,)
            Labels of at least two classes.
        X_val, y_val : arrays (n_val, d) and (n_val,), optional
            Validation data. Without them the weights of the last epoch are kept.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data or a parameter is invalid; before any training.
        """
        options = self._options()
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        _require_classes(classes)
        head = self._build_head(X.shape[1], len(classes), 1)
        train_index, validation_index = np.arange(len(y))[None], None
        if (X_val is None) != (y_val is None):
            raise ValueError("pass both X_val and y_val, or neither.")
        if X_val is not None:
            X_val, y_val = validate_data(self, X_val, y_val, dtype=np.float32, reset=False)
            validation_index = len(y) + np.arange(len(y_val))[None]
            X = np.concatenate([X, X_val])
            labels = np.concatenate([labels, _encode(classes, y_val, "y_val")])
        seeds = [_seed_of(self.random_state)]
        head.reset_parameters(seeds)
        result = train(head, X, labels, train_index, validation_index, seeds=seeds, options=options)
        self._set_fitted(head, classes, result, 0)
        return self

    def decision_logits(self, X) -> np.ndarray:
        """Logits, float64 (n, C), of samples X (n, d), computed in chunks.

        In double precision, so that a prediction does not depend on how single products round.
        """
        check_is_fitted(self, "module_")
        X = validate_data(self, X, dtype=np.float32, reset=False)
        return compute_logits(copy.deepcopy(self.module_).double(), X)[0].cpu().numpy()

    def predict_proba(self, X) -> np.ndarray:
        """Class probabilities, float32 (n, C), in the order of ``classes_``."""
        return torch.from_numpy(self.decision_logits(X)).softmax(-1).float().numpy()

    def predict(self, X) -> np.ndarray:
        """Predicted labels (n,) of samples X (n, d)."""
        logits = self.decision_logits(X)
        return self.classes_[logits.argmax(1)]


def _require_classes(classes: np.ndarray) -> None:
    """Raise ValueError for a classification problem with fewer than two classes."""
    if len(classes) < 2:
        raise ValueError(f"a classifier needs at least 2 classes; y holds 1 class: {classes}.")


def _encode(classes: np.ndarray, y, name: str) -> np.ndarray:
    """Positions of the labels y in `classes`; ValueError for a label that is not among them."""
    y = np.asarray(y)
    unknown = np.setdiff1d(y, classes)
    if unknown.size:
        raise ValueError(f"{name} holds labels that the training data do not: {unknown}.")
    return np.searchsorted(classes, y)


def _stack_splits(splits: Sequence) -> tuple[np.ndarray, np.ndarray | None]:
    """Stack the index arrays of R splits as (R, n_train) and (R, n_validation) or None."""
    parts = []
    for name in ("train", "validation"):
        arrays = [getattr(split, name, None) for split in splits]
        if all(array is None for array in arrays):
            parts.append(None)
            continue
        if any(array is None for array in arrays) or len({len(a) for a in arrays}) > 1:
            raise ValueError(f"all splits need {name} parts of one size: fit them in groups.")
        parts.append(np.stack(arrays))
    if parts[0] is None:
        raise ValueError("splits have no train part.")
    return parts[0], parts[1]


def fit_many(estimator, X, y, splits: Sequence, random_states: Sequence) -> list:
    """Fit one estimator on many splits and seeds in one replicated training run.

    The r-th result is what ``clone(estimator).set_params(random_state=random_states[r])`` gives
    when it is fitted on the r-th split alone, up to rounding.

    Parameters
    ----------
    estimator : ReplicatedClassifier
        Left unchanged.
    X : array (n, d) shared by the fits, or (R, n, d)
    y : array (n,)
    splits : sequence of R objects with index arrays ``train`` and ``validation``
        All of one size. Without ``validation`` the last weights are kept.
    random_states : sequence of R seeds

    Returns
    -------
    list of R fitted estimators

    Raises
    ------
    ValueError
        If the splits differ in size, a training part lacks a class, or the data are invalid; before
        any training.
    """
    options = estimator._options()
    splits, seeds = list(splits), [_seed_of(state) for state in random_states]
    if not splits or len(splits) != len(seeds):
        raise ValueError(f"need one seed per split, got {len(splits)} splits, {len(seeds)} seeds.")
    X = check_array(X, dtype=np.float32, allow_nd=True)
    y = column_or_1d(y)
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    _require_classes(classes)
    train_index, validation_index = _stack_splits(splits)
    for seed, index in zip(seeds, train_index, strict=True):
        if len(np.unique(y[index])) < len(classes):
            raise ValueError(f"the training part for seed {seed} does not hold every class.")
    head = estimator._build_head(X.shape[-1], len(classes), len(seeds))
    head.reset_parameters(seeds)
    result = train(head, X, labels, train_index, validation_index, seeds=seeds, options=options)
    fitted = []
    for r, seed in enumerate(seeds):
        single = clone(estimator).set_params(random_state=seed)
        single._set_fitted(select_replica(head, r), classes, result, r)
        fitted.append(single)
    return fitted
