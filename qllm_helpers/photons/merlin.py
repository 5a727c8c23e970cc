"""Between `PhotonicLayer` and `merlin.QuantumLayer`: the same circuit, the same weights.

The layer imports this module, not the other way round. MerLin and Perceval are imported inside the
functions because they take seconds to load and most readers' runs never need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    import merlin
    import perceval

_LEFT, _RIGHT, _INPUT = "left", "right", "phase"


def perceval_circuit(n_modes: int) -> perceval.Circuit:
    """The sandwich mesh, one phase per mode, mesh as a Perceval circuit with named parameters.

    ``left_in0``, ``left_out0``, ..., ``left_end0``, ..., ``phase0``, ..., ``right_in0``, ...: in
    this order the phases of `PhotonicLayer.left` and `.right`.
    """
    import perceval as pcvl

    circuit = pcvl.Circuit(n_modes, name="photonic head")
    circuit.add(0, _mesh(pcvl, n_modes, _LEFT))
    for mode in range(n_modes):
        circuit.add(mode, pcvl.PS(pcvl.P(f"{_INPUT}{mode}")))
    return circuit.add(0, _mesh(pcvl, n_modes, _RIGHT))


def _mesh(pcvl, n_modes: int, name: str):
    def interferometer(index: int):
        inner, outer = (pcvl.PS(pcvl.P(f"{name}_{side}{index}")) for side in ("in", "out"))
        return pcvl.BS() // inner // pcvl.BS() // outer

    return pcvl.GenericInterferometer(
        n_modes,
        interferometer,
        shape=pcvl.InterferometerShape.RECTANGLE,
        phase_shifter_fun_gen=lambda mode: pcvl.PS(pcvl.P(f"{name}_end{mode}")),
        phase_at_output=True,
    )


def to_merlin(layer, replica: int = 0, **options) -> merlin.QuantumLayer:
    """See `PhotonicLayer.to_merlin`; `options` (noise, ...) go to `merlin.QuantumLayer`."""
    import merlin

    if layer.distinguishable:
        raise ValueError(
            "MerLin's ideal layer has indistinguishable photons only; pass "
            "noise=perceval.NoiseModel(indistinguishability=0) to a layer converted from "
            "distinguishable=False instead."
        )
    if not 0 <= replica < layer.n_replicas:
        raise ValueError(f"replica must be in 0 ... {layer.n_replicas - 1}, not {replica}.")
    if layer.space == "unbunched" and max(layer.input_state) > 1:
        raise ValueError(
            f"MerLin's unbunched space takes at most one photon per input mode, not "
            f"{layer.input_state}; use space='fock'."
        )
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
        getattr(converted, _LEFT).copy_(layer.left[replica])
        getattr(converted, _RIGHT).copy_(layer.right[replica])
    return converted


def read_merlin(layer: merlin.QuantumLayer) -> tuple[dict, list[float], list[float]]:
    """Arguments of the `PhotonicLayer` of the same circuit, and the phases of its two meshes.

    The circuit is compared, component by component, with `perceval_circuit`; phase shifters at the
    end of a mesh may be missing. Raises ValueError for any other circuit.
    """
    values, found, position = {}, _components(layer.circuit), 0
    for prefix in layer.trainable_parameters:
        values |= zip(_names(layer, prefix), getattr(layer, prefix).tolist(), strict=True)
    inputs = {name for prefix in layer.input_parameters for name in _names(layer, prefix)}
    phases = {_LEFT: [], _RIGHT: []}
    for modes, expected in _components(perceval_circuit(layer.circuit.m)):
        there, element = found[position] if position < len(found) else (None, None)
        fits = there == modes and _alike(element, expected, inputs)
        name = expected.param("phi").name if expected.name == "PS" else ""
        if not fits and "_end" not in name:
            raise _not_a_sandwich(f"component {position} is no {expected.name} on modes {modes}")
        mesh = name.partition("_")[0]
        if mesh in phases and fits:
            phase = element.param("phi")
            phases[mesh].append(values[phase.name] if phase.name in values else float(phase))
        elif mesh in phases:
            phases[mesh].append(0.0)
        position += fits
    if position != len(found):
        raise _not_a_sandwich(f"{len(found) - position} components follow the second mesh")
    state, space = list(layer.input_state), layer.computation_space.name.lower()
    arguments = {"n_modes": layer.circuit.m, "n_photons": sum(state), "input_state": state}
    return arguments | {"space": space}, phases[_LEFT], phases[_RIGHT]


def _names(layer, prefix: str) -> list[str]:
    return [p.name for p in layer.circuit.get_parameters() if p.name.startswith(prefix)]


def _components(circuit) -> list:
    import perceval as pcvl

    barrier = pcvl.components.Barrier
    return [(tuple(modes), one) for modes, one in circuit if not isinstance(one, barrier)]


def _alike(element, expected, inputs: set[str]) -> bool:
    """Whether both are balanced beam splitters, or phase shifters for inputs, or for weights."""
    if type(element) is not type(expected):
        return False
    if expected.name == "PS":
        encodes = expected.param("phi").name.startswith(_INPUT)
        return (element.param("phi").name in inputs) == encodes
    unitary = expected.compute_unitary()
    return element.defined and np.allclose(element.compute_unitary(), unitary)


def _not_a_sandwich(reason: str) -> ValueError:
    return ValueError(
        f"Only a mesh, one encoded phase per mode and a second mesh can be read: {reason}. "
        "Build the layer with PhotonicLayer.to_merlin, or with MerLin's CircuitBuilder as "
        "entangling layer, angle encoding on every mode, entangling layer."
    )
