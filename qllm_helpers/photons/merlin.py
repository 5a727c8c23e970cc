"""Between `PhotonicLayer` and `merlin.QuantumLayer`: the same circuit, the same weights.

A head that was trained with the fast engine meets MerLin's noise models, shots and processors
through `to_merlin`; `from_merlin` reads a MerLin sandwich back. MerLin and Perceval are imported
inside the functions because they take seconds to load and most readers' runs never need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qllm_helpers.photons.layer import PhotonicLayer
from qllm_helpers.photons.mesh import mesh_layout

if TYPE_CHECKING:
    import merlin
    import perceval

_LEFT, _RIGHT, _INPUT = "left", "right", "phase"


def perceval_circuit(n_modes: int) -> perceval.Circuit:
    """The sandwich mesh, one phase per mode, mesh as a Perceval circuit with named parameters.

    Parameters
    ----------
    n_modes : int

    Returns
    -------
    perceval.Circuit
        Parameters ``left_in0``, ``left_out0``, ..., ``left_end0``, ..., ``phase0``, ...,
        ``right_in0``, ...: in this order the phases of `PhotonicLayer.left` and `.right`.
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


def to_merlin(layer: PhotonicLayer, replica: int = 0, **options) -> merlin.QuantumLayer:
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


def from_merlin(layer: merlin.QuantumLayer) -> PhotonicLayer:
    """See `PhotonicLayer.from_merlin`."""
    import perceval as pcvl

    n_modes = layer.circuit.m
    elements = [
        (modes, element)
        for modes, element in layer.circuit
        if not isinstance(element, pcvl.components.Barrier)
    ]
    values = {
        name: value
        for prefix in layer.trainable_parameters
        for name, value in zip(
            _names_with_prefix(layer, prefix), getattr(layer, prefix).tolist(), strict=True
        )
    }
    inputs = {
        name for prefix in layer.input_parameters for name in _names_with_prefix(layer, prefix)
    }
    left, position = _read_mesh(pcvl, elements, 0, n_modes, values, inputs)
    position = _skip_encoding(pcvl, elements, position, n_modes, inputs)
    right, position = _read_mesh(pcvl, elements, position, n_modes, values, inputs)
    if position != len(elements):
        raise _not_a_sandwich(f"{len(elements) - position} components follow the second mesh")
    space = layer.computation_space.name.lower()
    converted = PhotonicLayer(
        n_modes, sum(layer.input_state), space=space, input_state=list(layer.input_state)
    ).to(layer.dtype)
    with torch.no_grad():
        converted.left[0] = torch.tensor(left, dtype=torch.float64)
        converted.right[0] = torch.tensor(right, dtype=torch.float64)
    return converted


def _names_with_prefix(layer, prefix: str) -> list[str]:
    return [p.name for p in layer.circuit.get_parameters() if p.name.startswith(prefix)]


def _not_a_sandwich(reason: str) -> ValueError:
    return ValueError(
        f"Only a mesh, one encoded phase per mode and a second mesh can be read: {reason}. "
        "Build the layer with PhotonicLayer.to_merlin, or with MerLin's CircuitBuilder as "
        "entangling layer, angle encoding on every mode, entangling layer."
    )


def _phase_of(pcvl, elements, position, mode, values):
    """Value of the phase shifter expected at `position` on `mode`."""
    found = elements[position] if position < len(elements) else None
    if found is None or not isinstance(found[1], pcvl.PS) or tuple(found[0]) != (mode,):
        raise _not_a_sandwich(f"component {position} is not a phase shifter on mode {mode}")
    parameter = found[1].param("phi")
    return values[parameter.name] if parameter.name in values else float(parameter)


def _check_splitter(pcvl, elements, position, mode):
    """Fail unless a balanced beam splitter (Perceval's default) is at `position`."""
    found = elements[position] if position < len(elements) else None
    if found is None or not isinstance(found[1], pcvl.BS) or found[0][0] != mode:
        raise _not_a_sandwich(f"component {position} is not a beam splitter on mode {mode}")
    if not torch.allclose(
        torch.tensor(found[1].compute_unitary().tolist()),
        torch.tensor(pcvl.BS().compute_unitary().tolist()),
    ):
        raise _not_a_sandwich(f"the beam splitter at {position} is not balanced (BS.Rx)")


def _read_mesh(pcvl, elements, position, n_modes, values, inputs):
    phases = []
    for mode in mesh_layout(n_modes):
        for _ in range(2):
            _check_splitter(pcvl, elements, position, mode)
            phases.append(_phase_of(pcvl, elements, position + 1, mode, values))
            position += 2
    for mode in range(n_modes):
        has_end = (
            position < len(elements)
            and isinstance(elements[position][1], pcvl.PS)
            and elements[position][1].param("phi").name not in inputs
        )
        phases.append(_phase_of(pcvl, elements, position, mode, values) if has_end else 0.0)
        position += has_end
    return phases, position


def _skip_encoding(pcvl, elements, position, n_modes, inputs):
    for mode in range(n_modes):
        found = elements[position] if position < len(elements) else None
        is_phase = found is not None and isinstance(found[1], pcvl.PS)
        if not is_phase or tuple(found[0]) != (mode,) or found[1].param("phi").name not in inputs:
            raise _not_a_sandwich(f"mode {mode} has no encoded phase of its own")
        position += 1
    return position
