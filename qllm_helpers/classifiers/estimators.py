"""scikit-learn classifiers on top of the heads.

All share `ReplicatedClassifier`; each only says which head it builds. Features are used as given,
in float32: nothing is standardised.
"""

from dataclasses import dataclass, fields

from qllm_helpers.classifiers.replicated import ReplicatedClassifier, fit_many, plain_fields
from qllm_helpers.heads.base import Head, MLPHead
from qllm_helpers.heads.qubit import TWINS, QuadraticFormHead, QubitHead, QubitOptions

__all__ = [
    "MLPClassifier",
    "PhotonicClassifier",
    "QuadraticFormClassifier",
    "QubitClassifier",
    "ReplicatedClassifier",
    "fit_many",
]

_SHARED_PARAMETERS = """epochs : int
        Passes over the training data.
    lr : float
        Learning rate of Adam.
    batch_size : int
        Samples per mini-batch.
    weight_decay : float
        L2 penalty of Adam.
    patience : int or None
        Stop once the best validation epoch is this many epochs old; needs validation data.
    device : str
        "cpu" or "cuda".
    progress : bool
        Whether to show a progress bar.
    random_state : int, RandomState or None
        An integer is itself the seed of weights, mini-batches and dropout; anything else draws one.

    Attributes
    ----------
    classes_ : array (C,)
    n_features_in_ : int
    module_ : Head
        The trained head, one replica, in evaluation mode.
    history_ : DataFrame
        One row per epoch: epoch, train_loss, validation_loss, validation_accuracy (fraction).
    best_epoch_ : int
        Epoch of the weights in ``module_`` (from 1); the last one without validation data.
    validation_accuracy_, validation_loss_ : float
        At that epoch; NaN without validation data."""


def _classifier(cls):
    """Make a class a dataclass, and fill the shared parameters into its docstring."""
    cls.__doc__ = cls.__doc__.replace("{shared}", _SHARED_PARAMETERS)
    return dataclass(eq=False, repr=False)(cls)


@_classifier
class MLPClassifier(ReplicatedClassifier):
    """Fully connected network with ReLU and dropout; ``hidden_dims=()`` is the linear head.

    The default is the network of the earlier reproduction: 100 and 50 units, dropout 0.2.

    Parameters
    ----------
    hidden_dims : sequence of int
        Widths of the hidden layers.
    dropout : float
        Probability of zeroing a hidden activation while training, in [0, 1).
    {shared}
    """

    hidden_dims: tuple = (100, 50)
    dropout: float = 0.2

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        """Return the network, untrained."""
        return MLPHead(n_features, n_classes, self.hidden_dims, self.dropout, n_replicas)


@_classifier
class PhotonicClassifier(ReplicatedClassifier):
    """Photonic head: encoder to phases, interferometer, photon counts, linear readout.

    Parameters
    ----------
    n_modes, n_photons : int
        Size of the circuit.
    encoding : {"dense", "subset"}
        One trainable linear map to the phases, or the earlier reproduction's sums over subsets.
    hidden_dim : int or None
        Width of the linear map of ``encoding="subset"``; None for 100.
    space : {"fock", "unbunched"}
        Outputs: all Fock states, or at most one photon a mode.
    readout : {"probabilities", "occupation"}
        What the readout sees: output probabilities, or mean photon numbers of the modes.
    twin : str or None
        Classical stand-in for the quantum layer, one of `qllm_helpers.heads.photonic.TWINS`.
    n_encoders : int or None
        If given, that many parallel layers of `n_modes` modes feed a second stage.
    input_state : sequence of int or None
        Photons per mode at the input; None for the default.
    {shared}
    """

    n_modes: int = 8
    n_photons: int = 2
    encoding: str = "dense"
    hidden_dim: int | None = None
    space: str = "fock"
    readout: str = "probabilities"
    twin: str | None = None
    n_encoders: int | None = None
    input_state: tuple | None = None

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        """Return the photonic head, untrained."""
        # Here, because numba takes a second to import and the classical heads need none of it.
        from qllm_helpers.heads.photonic import PhotonicHead

        return PhotonicHead(n_features, n_classes, n_replicas=n_replicas, **self._circuit())

    def _circuit(self) -> dict:
        """Options of the head: the parameters that this class adds."""
        own = fields(PhotonicClassifier)[len(fields(ReplicatedClassifier)) :]
        return {one.name: getattr(self, one.name) for one in own}


class _EvenClassifier(ReplicatedClassifier):
    """Base of heads that see x only through quadratic forms: x and -x get the same class."""

    def __sklearn_tags__(self):
        """Tell scikit-learn's checks that blobs on both sides of the origin look alike to it."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


@_classifier
class QubitClassifier(plain_fields(QubitOptions), _EvenClassifier):
    """The paper's head: simulated quantum encoders, re-uploading circuit, linear output layer.

    Amplitudes have no overall sign: x and -x are the same state and get the same class, unless
    ``padding="constant"`` adds a number that does not change its sign.

    Parameters
    ----------
    n_qubits : int
        Qubits of each encoder; 2^n_qubits amplitudes must hold the embedding.
    n_encoders : int
        Encoders side by side.
    connectivity : int
        Largest distance of the CNOT + RY blocks.
    n_layers : int
        Layers of each encoder.
    n_reuploads : int
        Re-uploading blocks of the second module.
    n_main_layers : int
        Layers of its main circuit.
    n_latent : int or None
        Latent values, which are the qubits of the second module; None for ``n_qubits``.
    module1 : {"circuit", "linear", "none"}
        Ablation of the encoders: a linear map, or the first values of the embedding.
    module2 : {"circuit", "none"}
        Ablation of the re-uploading circuit.
    reduction : {None, "truncate", "linear"}
        What to do with more values than amplitudes; None refuses them.
    merge : {"concatenate", "mean"}
        How several encoders make one latent vector.
    boundary : {"ring", "open"}
        Whether a layer of blocks closes around the register.
    padding : {"zeros", "repeat", "constant"}
        What stands in the amplitudes behind the last value; "constant" is one number, then zeros.
    reuploads : {"own", "shared"}
        Whether re-uploading blocks have angles of their own.
    angle_scale : float
        Radians of RY for one unit of the latent vector.
    start : {"uniform", "small"}
        Angles before training.
    constant : float
        The number of ``padding="constant"``, in units of the embedding's norm where that is 1.
    twin : {None, "frozen", "quadratic"}
        Stand-in: angles that stay at their random start, or classical quadratic forms with as many
        parameters as this head (`qllm_helpers.heads.qubit`).
    {shared}
    """

    twin: str | None = None

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        """Return the head or its twin, untrained."""
        if self.twin not in TWINS:
            raise ValueError(f"twin must be one of {TWINS}, not {self.twin!r}.")
        options = {name: getattr(self, name) for name in QubitOptions.__dataclass_fields__}
        if self.twin == "quadratic":
            return QuadraticFormHead.like(QubitHead(n_features, n_classes, **options), n_replicas)
        options["frozen"] = self.twin == "frozen"
        return QubitHead(n_features, n_classes, n_replicas=n_replicas, **options)


@_classifier
class QuadraticFormClassifier(_EvenClassifier):
    """Classical quadratic forms x^T A x / x^T x of low rank, and a linear map.

    Parameters
    ----------
    n_forms : int
        Forms of rank one.
    n_inputs : int or None
        Fixed random directions of the embedding that the forms see; None for the whole embedding.
    {shared}
    """

    n_forms: int = 10
    n_inputs: int | None = None

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        """Return the head, untrained."""
        return QuadraticFormHead(n_features, n_classes, self.n_forms, self.n_inputs, n_replicas)
