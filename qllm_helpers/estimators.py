"""scikit-learn classifiers on top of the heads.

All share `ReplicatedClassifier`; each only says which head it builds. Features are used as given,
in float32: nothing is standardised.
"""

from qllm_helpers.heads import Head, MLPHead
from qllm_helpers.replicated import ReplicatedClassifier, fit_many

__all__ = ["MLPClassifier", "PhotonicClassifier", "ReplicatedClassifier", "fit_many"]

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


def _document(cls):
    """Fill the parameters that all classifiers share into a class docstring."""
    cls.__doc__ = cls.__doc__.replace("{shared}", _SHARED_PARAMETERS)
    return cls


@_document
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

    def __init__(
        self,
        hidden_dims=(100, 50),
        dropout=0.2,
        epochs=60,
        lr=5e-3,
        batch_size=32,
        weight_decay=0.0,
        patience=None,
        device="cpu",
        progress=False,
        random_state=None,
    ):
        self.hidden_dims = hidden_dims
        self.dropout = dropout
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.patience = patience
        self.device = device
        self.progress = progress
        self.random_state = random_state

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        """Return the network, untrained."""
        return MLPHead(n_features, n_classes, self.hidden_dims, self.dropout, n_replicas)


@_document
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
        Classical stand-in for the quantum layer, one of `qllm_helpers.twins.TWINS`.
    n_encoders : int or None
        If given, that many parallel layers of `n_modes` modes feed a second stage.
    input_state : sequence of int or None
        Photons per mode at the input; None for the default.
    {shared}
    """

    def __init__(
        self,
        n_modes=8,
        n_photons=2,
        encoding="dense",
        hidden_dim=None,
        space="fock",
        readout="probabilities",
        twin=None,
        n_encoders=None,
        input_state=None,
        epochs=60,
        lr=5e-3,
        batch_size=32,
        weight_decay=0.0,
        patience=None,
        device="cpu",
        progress=False,
        random_state=None,
    ):
        self.n_modes = n_modes
        self.n_photons = n_photons
        self.encoding = encoding
        self.hidden_dim = hidden_dim
        self.space = space
        self.readout = readout
        self.twin = twin
        self.n_encoders = n_encoders
        self.input_state = input_state
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.patience = patience
        self.device = device
        self.progress = progress
        self.random_state = random_state

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        """Return the photonic head, untrained."""
        # Here, because numba takes a second to import and the classical heads need none of it.
        from qllm_helpers.photonic_heads import PhotonicHead

        names = ("encoding", "hidden_dim", "space", "readout", "twin", "n_encoders", "input_state")
        return PhotonicHead(
            n_features,
            n_classes,
            self.n_modes,
            self.n_photons,
            n_replicas=n_replicas,
            **{name: getattr(self, name) for name in names},
        )
