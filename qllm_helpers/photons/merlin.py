"""Between `PhotonicLayer` and MerLin: the same circuit and weights, and processors to run on.

MerLin and Perceval are imported inside the functions: they take seconds, and most runs need none.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from qllm_helpers import checks

if TYPE_CHECKING:
    import merlin
    import perceval

    from qllm_helpers.photons.noise import Noise

#: Where the token of the cloud is looked for; Perceval uses the same name.
TOKEN_VARIABLE = "PCVL_CLOUD_TOKEN"
_LEFT, _RIGHT, _INPUT = "left", "right", "phase"


def perceval_circuit(n_modes: int) -> perceval.Circuit:
    """Mesh, one phase per mode, mesh in Perceval, the parameters in the order of the layer's."""
    import perceval as pcvl

    def shifter(name: str):
        return pcvl.PS(pcvl.P(name))

    def mesh(name: str):
        def splitter(i: int):
            first, second = shifter(f"{name}_in{i}"), shifter(f"{name}_out{i}")
            return pcvl.BS() // first // pcvl.BS() // second

        return pcvl.GenericInterferometer(
            n_modes,
            splitter,
            shape=pcvl.InterferometerShape.RECTANGLE,
            phase_shifter_fun_gen=lambda mode: shifter(f"{name}_end{mode}"),
            phase_at_output=True,
        )

    circuit = pcvl.Circuit(n_modes, name="photonic head").add(0, mesh(_LEFT))
    for mode in range(n_modes):
        circuit.add(mode, shifter(f"{_INPUT}{mode}"))
    return circuit.add(0, mesh(_RIGHT))


def to_merlin(layer, replica: int = 0, **options) -> merlin.QuantumLayer:
    """See `PhotonicLayer.to_merlin`."""
    import merlin

    if layer.distinguishable:
        ideal = "perceval.NoiseModel(indistinguishability=0)"
        raise ValueError(f"MerLin's ideal photons are indistinguishable: use noise={ideal}.")
    checks.integer("replica", replica, 0, layer.n_replicas - 1)
    if layer.space == "unbunched" and max(layer.input_state) > 1:
        state = layer.input_state
        raise ValueError(f"MerLin's unbunched space takes no input {state}; use space='fock'.")
    space = merlin.ComputationSpace[layer.space.upper()]
    converted = merlin.QuantumLayer(
        input_size=layer.n_modes,
        circuit=perceval_circuit(layer.n_modes),
        input_state=list(layer.input_state),
        trainable_parameters=[_LEFT, _RIGHT],
        input_parameters=[_INPUT],
        measurement_strategy=merlin.MeasurementStrategy.probs(space),
        dtype=layer.left.dtype,
        **options,
    )
    with torch.no_grad():
        for name in (_LEFT, _RIGHT):
            getattr(converted, name).copy_(getattr(layer, name)[replica])
    return converted


def to_noise_model(noise: Noise) -> perceval.NoiseModel:
    """Source, loss and phase errors as Perceval's noise model (detectors are not part of it)."""
    import perceval as pcvl

    names = ("brightness", "transmittance", "indistinguishability")
    names += ("g2", "phase_error", "phase_imprecision")
    return pcvl.NoiseModel(**{name: getattr(noise, name) for name in names})


def open_processor(
    platform: str = "local", *, n_modes: int, n_photons: int, noise: Noise | None = None
) -> merlin.MerlinProcessor:
    """Connect to "local", a sampling simulation, or a platform of the cloud, such as "qpu:belenos".

    That has its own noise and needs a token in `TOKEN_VARIABLE`, which is neither printed nor
    stored. Shots with fewer photons than `n_photons` are discarded.
    """
    token, remote = os.environ.get(TOKEN_VARIABLE), platform != "local"
    if remote and noise is not None:
        raise ValueError(f"{platform} has its own noise: leave noise out.")
    if remote and not token:
        place = f"your account of the Quandela cloud in the environment variable {TOKEN_VARIABLE}"
        raise ValueError(f"{platform} needs a token, which is not stored, from {place}.")
    import merlin
    import perceval as pcvl

    if remote:
        processor, known = pcvl.RemoteProcessor(platform, token=token), {"token": token}
    else:
        model = None if noise is None else to_noise_model(noise)
        processor, known = pcvl.Processor("CliffordClifford2017", n_modes, noise=model), {}
    processor.min_detected_photons_filter(n_photons)
    return merlin.MerlinProcessor(processor=processor, **known)
