"""Base class of the scikit-learn classifiers, and one run that fits many seeds at once.

Features are used as given, in float32: nothing is standardised.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from qllm_helpers.heads.base import Head, select_replica
from qllm_helpers.training.loop import TrainingOptions, TrainingResult, compute_logits, train


class TrainedClassifier(ClassifierMixin, BaseEstimator):
    """What the classifiers of `train` share: their constructor and how they keep the outcome."""

    #: Key of the figures' colours and markers; a class whose parameters are not counted in the
    #: usual way also has ``count_parameters(X) -> ParameterCount``.
    family: str
    #: Whether `fit` takes sentences, not their embeddings.
    reads_texts: bool = False

    def __init_subclass__(cls, **kwargs):
        """Write the constructor, which stores the fields unchecked, as scikit-learn asks."""
        super().__init_subclass__(**kwargs)
        if "__init__" not in vars(cls):
            dataclass(eq=False, repr=False)(cls)

    def _parameters(self, names: Iterable[str]) -> dict:
        return {name: getattr(self, name) for name in names}

    def _set_fitted(self, head: Head, classes, result: TrainingResult, r: int = 0) -> None:
        """Store the outcome of replica `r`."""
        self.classes_, self.module_ = classes, head
        rows = result.history[result.history["replica"] == r]
        self.history_ = rows.drop(columns="replica").reset_index(drop=True)
        self.best_epoch_ = int(result.best_epoch[r])
        self.validation_accuracy_ = float(result.best_validation_accuracy[r])
        self.validation_loss_ = float(result.best_validation_loss[r])


class ReplicatedClassifier(TrainedClassifier):
    """Base class: fits a head with `train` and predicts with it.

    A subclass names its `family`, and its own parameters as the fields of a dataclass, and
    implements `_build_head`. In its docstring ``{shared}`` stands for what follows.

    Parameters
    ----------
    epochs : int
        Passes over the training data.
    lr : float
        Learning rate of AdamW.
    batch_size : int
        Samples per mini-batch.
    weight_decay : float
        Decoupled weight decay of AdamW, of linear maps only.
    patience : int or None
        Stop once the best validation epoch is this many epochs old; needs validation data.
    validate_every : int
        Only every so many epochs, and the last one, are validated.
    device : str
        "cpu" or "cuda".
    progress : bool
        Whether to show a progress bar.
    random_state : int, RandomState or None
        An integer is itself the seed of weights, mini-batches and dropout; anything else draws one.

    Attributes
    ----------
    classes_ : array (C,)
    n_features_in_, seed_ : int
    module_ : Head
        The trained head, one replica, in evaluation mode.
    history_ : DataFrame
        One row per epoch: epoch, train_loss, validation_loss, validation_accuracy (fraction).
    best_epoch_ : int
        Epoch of the weights in ``module_`` (from 1); the last one without validation data.
    validation_accuracy_, validation_loss_ : float
        At that epoch; NaN without validation data.
    """

    _: KW_ONLY
    epochs: int = 60
    lr: float = 5e-3
    batch_size: int = 32
    weight_decay: float = 0.0
    patience: int | None = None
    validate_every: int = 1
    device: str = "cpu"
    progress: bool = False
    random_state: int | np.random.RandomState | None = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        shared = ReplicatedClassifier.__doc__.partition("----------\n")[2].strip()
        cls.__doc__ = cls.__doc__ and cls.__doc__.replace("{shared}", shared)

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        """Return an untrained head; raise ValueError if the parameters describe none."""
        raise TypeError(f"{type(self).__name__} must define _build_head.")

    def _options(self) -> TrainingOptions:
        """Checked training options."""
        return TrainingOptions(**self._parameters(TrainingOptions.__dataclass_fields__))

    def fit(self, X, y, X_val=None, y_val=None):
        """Fit on X (n, d) and y (n,), keeping the weights of the best epoch on (X_val, y_val).

        Without validation data the weights of the last epoch are kept. Raises ValueError if the
        data or a parameter is invalid, before any training.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)
        classes, labels, index = number_labels(y, X_val, y_val)
        if X_val is not None:
            more, _ = validate_data(self, X_val, y_val, dtype=np.float32, reset=False)
            X = np.concatenate([X, more])
        _fit_replicas([self], X, labels, classes, index, [_seed_of(self.random_state)])
        return self

    def decision_logits(self, X) -> np.ndarray:
        """Logits of samples X (n, d): double precision, so that no prediction hangs on rounding."""
        check_is_fitted(self, "module_")
        X = validate_data(self, X, dtype=np.float32, reset=False)
        return compute_logits(copy.deepcopy(self.module_).double(), X)[0].cpu().numpy()

    def predict_proba(self, X) -> np.ndarray:
        """Class probabilities, float32 (n, C), in the order of ``classes_``."""
        return torch.from_numpy(self.decision_logits(X)).softmax(-1).float().numpy()

    def predict(self, X) -> np.ndarray:
        """Predicted labels (n,) of samples X (n, d)."""
        chosen = self.decision_logits(X).argmax(1)  # refuses before `classes_` is asked for
        return self.classes_[chosen]


def number_labels(y, X_val, y_val) -> tuple[np.ndarray, np.ndarray, tuple]:
    """Classes of y, the numbers of all labels, and where y's and y_val's lie, (1, n) or None."""
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"a classifier needs at least 2 classes; y holds 1 class: {classes}.")
    if (X_val is None) != (y_val is None):
        raise ValueError("pass both X_val and y_val, or neither.")
    if y_val is None:
        return classes, labels, (np.arange(len(y))[None], None)
    y_val = column_or_1d(y_val)
    unknown = np.setdiff1d(y_val, classes)
    if unknown.size:
        raise ValueError(f"y_val holds labels that y does not: {unknown}.")
    labels = np.concatenate([labels, np.searchsorted(classes, y_val)])
    return classes, labels, tuple(np.split(np.arange(len(labels))[None], [len(y)], axis=1))


def _seed_of(random_state) -> int:
    """An integer itself, or a seed drawn from anything else that scikit-learn accepts."""
    generator = check_random_state(random_state)
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(generator.randint(2**31 - 1))


def _fit_replicas(fits: list[ReplicatedClassifier], X, labels, classes, index, seeds) -> None:
    """Fit estimators of the same parameters on index arrays (R, n), one seed each."""
    options = fits[0]._options()
    head = fits[0]._build_head(X.shape[-1], len(classes), len(seeds))
    head.reset_parameters(seeds)
    head.check_inputs(X)
    result = train(head, X, labels, *index, seeds=seeds, options=options)
    for r, fit in enumerate(fits):
        fit.n_features_in_, fit.seed_ = X.shape[-1], seeds[r]
        fit._set_fitted(select_replica(head, r), classes, result, r)


def _stacked(splits: Sequence, name: str) -> np.ndarray | None:
    """Index arrays of R splits as (R, n); None for validation parts that no split has."""
    arrays = [getattr(split, name, None) for split in splits]
    if name == "validation" and all(array is None for array in arrays):
        return None
    if any(array is None for array in arrays) or len({len(array) for array in arrays}) > 1:
        raise ValueError(f"all splits need {name} parts of one size: fit them in groups.")
    return np.stack(arrays)


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
        If splits differ in size, a class is missing, or the data are invalid; before any training.
    """
    splits, seeds = list(splits), [_seed_of(state) for state in random_states]
    if not splits or len(splits) != len(seeds):
        raise ValueError(f"need one seed per split, got {len(splits)} splits, {len(seeds)} seeds.")
    X = check_array(X, dtype=np.float32, allow_nd=True)
    classes, labels, _ = number_labels(column_or_1d(y), None, None)
    index = _stacked(splits, "train"), _stacked(splits, "validation")
    for seed, rows in zip(seeds, index[0], strict=True):
        if len(np.unique(labels[rows])) < len(classes):
            raise ValueError(f"the training part for seed {seed} does not hold every class.")
    fits = [clone(estimator).set_params(random_state=seed) for seed in seeds]
    _fit_replicas(fits, X, labels, classes, index, seeds)
    return fits
