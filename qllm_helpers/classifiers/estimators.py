"""scikit-learn classifiers on top of the heads: each only says which head it builds."""

from dataclasses import field

from qllm_helpers import checks
from qllm_helpers.classifiers.replicated import ReplicatedClassifier
from qllm_helpers.heads.base import Head, MLPHead, select_replica
from qllm_helpers.heads.qubit import TWINS, QuadraticFormHead, QubitHead, QubitOptions


class MLPClassifier(ReplicatedClassifier):
    """Fully connected network with ReLU and dropout; ``hidden_dims=()`` is the linear head.

    Parameters
    ----------
    hidden_dims : sequence of int
        Widths of the hidden layers; the default is the network of the earlier reproduction.
    dropout : float
        Probability of zeroing a hidden activation while training, in [0, 1).
    {shared}
    """

    family = "mlp"

    hidden_dims: tuple = (100, 50)
    dropout: float = 0.2
    lr: float = field(default=3e-4, kw_only=True)
    epochs: int = field(default=20, kw_only=True)
    weight_decay: float = field(default=1.0, kw_only=True)

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        return MLPHead(n_features, n_classes, self.hidden_dims, self.dropout, n_replicas)


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
    phase_scale : float
        Factor of the phases behind the encoder.
    output_scale : float or None
        Factor of what the readout sees; None multiplies probabilities by their number.
    {shared}
    """

    family = "photonic"

    n_modes: int = 8
    n_photons: int = 2
    encoding: str = "dense"
    hidden_dim: int | None = None
    space: str = "fock"
    readout: str = "probabilities"
    twin: str | None = None
    n_encoders: int | None = None
    input_state: tuple | None = None
    phase_scale: float = 0.3
    output_scale: float | None = None
    lr: float = field(default=1e-3, kw_only=True)
    epochs: int = field(default=30, kw_only=True)
    weight_decay: float = field(default=1.0, kw_only=True)

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        # Here, because numba takes a second to import and the classical heads need none of it.
        from qllm_helpers.heads.photonic import PhotonicHead

        return PhotonicHead(n_features, n_classes, n_replicas=n_replicas, **self._circuit())

    def _circuit(self) -> dict:
        """Options of the head."""
        shared = ReplicatedClassifier.__dataclass_fields__
        return self._parameters(PhotonicClassifier.__dataclass_fields__.keys() - shared.keys())


class NoisyPhotonicClassifier(PhotonicClassifier):
    """A photonic head that predicts with imperfections and shots, whatever it was trained with.

    Unless ``noise_in_training``, the weights are those of a `PhotonicClassifier` with the same
    seed, bit for bit; with it, training (with the gradient of infinitely many shots) and validation
    see the noise. Errors and shots come from `random_state`: predicting twice gives the same.
    Parameters are those of `PhotonicClassifier` and `qllm_helpers.photons.noise.Noise`, and
    `n_shots`, the attempts for every sentence; None for infinitely many.
    """

    brightness: float = 1.0
    transmittance: float = 1.0
    indistinguishability: float = 1.0
    g2: float = 0.0
    phase_error: float = 0.0
    phase_imprecision: float = 0.0
    detector: str = "number"
    post_select: bool = True
    n_shots: int | None = None
    noise_in_training: bool = False

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        from qllm_helpers.heads.photonic import NoisyPhotonicHead
        from qllm_helpers.photons.noise import Noise

        noise = Noise(**self._parameters(Noise.__dataclass_fields__))
        options = {"noise": noise, "n_shots": self.n_shots} | self._circuit()
        head = NoisyPhotonicHead(n_features, n_classes, n_replicas=n_replicas, **options)
        head.quantum.active = self.noise_in_training
        return head

    def _set_fitted(self, head, classes, result, r: int = 0) -> None:
        super()._set_fitted(head, classes, result, r)
        head.quantum.active = True

    def ideal(self) -> PhotonicClassifier:
        """The fitted classifier with the same weights on a perfect machine."""
        twin = PhotonicClassifier(**self._parameters(PhotonicClassifier._get_param_names()))
        twin.__dict__.update({k: v for k, v in self.__dict__.items() if k.endswith("_")})
        twin.module_ = select_replica(self.module_, 0).ideal()
        return twin


class _EvenClassifier(ReplicatedClassifier):
    """Base of heads that see x only through quadratic forms: x and -x get the same class."""

    def __sklearn_tags__(self):
        """Blobs on both sides of the origin look alike, which scikit-learn's checks must know."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


class QubitClassifier(_EvenClassifier):
    """The paper's head: simulated quantum encoders, re-uploading circuit, linear output layer.

    Without a constant, x and -x are one state and get the same class. The defaults are the best
    circuit of ten qubits and one encoder that this book knows, not the paper's; two encoders are a
    point better and take twice as long.

    Parameters
    ----------
    n_qubits, n_encoders : int
        Qubits of each encoder, whose 2^n_qubits amplitudes must hold the embedding.
    connectivity : int or None
        Largest distance of the CNOT + RY blocks; None for 3, or what a smaller register has.
    n_layers, n_main_layers : int
        Layers of each encoder, and of the main circuit of the second module.
    n_reuploads : int
        Re-uploading blocks of the second module.
    n_latent : int or None
        Latent values, which are the qubits of the second module; None for ``n_qubits``.
    module1, module2 : {"circuit", "linear", "none"}
        Ablations: a linear map or the first values for the encoders; no re-uploading circuit.
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
        Angles that stay at random, or classical quadratic forms with as many parameters.
    {shared}
    """

    family = "qubit"

    n_qubits: int = 10
    n_encoders: int = 1
    connectivity: int | None = None
    n_layers: int = 4
    n_reuploads: int = 2
    n_main_layers: int = 1
    n_latent: int | None = None
    module1: str = "circuit"
    module2: str = "circuit"
    reduction: str | None = None
    merge: str = "concatenate"
    boundary: str = "ring"
    padding: str = "constant"
    reuploads: str = "own"
    angle_scale: float = 1.0
    start: str = "uniform"
    constant: float = 1.0
    twin: str | None = None
    lr: float = field(default=1e-2, kw_only=True)
    epochs: int = field(default=240, kw_only=True)
    weight_decay: float = field(default=1.0, kw_only=True)

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        checks.choice("twin", self.twin, TWINS)
        options = self._parameters(QubitOptions.__dataclass_fields__)
        if self.connectivity is None:
            options["connectivity"] = min(3, max(1, checks.integer("n_qubits", self.n_qubits) - 1))
        if self.twin == "quadratic":
            return QuadraticFormHead.like(QubitHead(n_features, n_classes, **options), n_replicas)
        options["frozen"] = self.twin == "frozen"
        return QubitHead(n_features, n_classes, n_replicas=n_replicas, **options)


class QuadraticFormClassifier(_EvenClassifier):
    """`n_forms` forms x^T A x / x^T x of rank one, and a linear map.

    They see `n_inputs` fixed random directions of the embedding; None for all of it.
    """

    family = "twin"

    n_forms: int = 10
    n_inputs: int | None = None

    def _build_head(self, n_features: int, n_classes: int, n_replicas: int) -> Head:
        return QuadraticFormHead(n_features, n_classes, self.n_forms, self.n_inputs, n_replicas)
