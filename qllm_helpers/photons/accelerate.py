"""MerLin's layers, where they stand, on this book's engine: same parameters, outputs and gradients.

Of a `merlin.QuantumLayer` two steps are replaced, how the unitary is built from the phases and how
amplitudes follow from it. All else stays MerLin's: encodings, measurements, detectors, shots.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from qllm_helpers.photons.interferometer import MIX, SPLIT, TURN, Gates, unitary
from qllm_helpers.photons.kernels import bunching_factors, compiled_product, fock_tables

if TYPE_CHECKING:
    import merlin

# Phases around a rotation about x that make a beam splitter of another convention.
_AROUND = {"Rx": (0.0, 0.0), "Ry": (math.pi / 2, -math.pi / 2), "H": (-math.pi / 2, -math.pi / 2)}


def accelerate(module: torch.nn.Module) -> dict[str, str]:
    """Speed up every `merlin.QuantumLayer` in a module, in place.

    Parameters
    ----------
    module : Module
        Any torch module, or a `merlin.QuantumLayer` itself. Call this after moving it to another
        dtype: MerLin builds its circuits anew then, and `accelerate` has to be called again.

    Returns
    -------
    dict of str to str
        For each layer, by its name in the module, "accelerated" or why it was left as it is.

    Examples
    --------
    >>> model = torch.nn.Sequential(merlin.QuantumLayer.simple(8), torch.nn.LazyLinear(2))
    >>> accelerate(model)
    {'0.quantum_layer': 'accelerated'}
    """
    restore(module)
    report = {}
    for name, layer in _layers(module):
        process = layer.computation_process
        reason = _obstacle(layer)
        if not reason:
            process.converter.to_tensor = _fast_unitary(process.converter)
            process.simulation_graph.compute = _fast_amplitudes(process.simulation_graph)
        report[name] = reason or "accelerated"
    return report


def restore(module: torch.nn.Module) -> None:
    """Give MerLin's own simulation back to every layer of a module."""
    for _, layer in _layers(module):
        process = layer.computation_process
        for part, name in ((process.converter, "to_tensor"), (process.simulation_graph, "compute")):
            vars(part).pop(name, None)


def _layers(module: torch.nn.Module) -> list[tuple[str, merlin.QuantumLayer]]:
    import merlin

    modules = module.named_modules()
    return [(name, one) for name, one in modules if isinstance(one, merlin.QuantumLayer)]


def _obstacle(layer: merlin.QuantumLayer) -> str:
    """Why a layer cannot be accelerated; empty if it can."""
    process = layer.computation_process
    converter, graph = process.converter, process.simulation_graph
    if process._returns_probabilities() or converter._phase_imprecision:
        return "its photons or its phases are noisy"
    if converter.memristive_metadata:
        return "phases depend on earlier outputs"
    if graph.computation_space.name not in ("FOCK", "UNBUNCHED") or graph.output_map_func:
        return "its outputs are not the Fock states, or those without bunching"
    if torch.device(converter.device or "cpu").type != "cpu":
        return "it is not on the CPU"
    for _, component in converter.circuit:
        if component.get_parameters() and component.name not in ("PS", "BS.Rx", "BS.Ry", "BS.H"):
            return f"its circuit has a component with parameters of another kind: {component.name}"
    return ""


class _Compiler:
    """Perceval's components as gates; an angle is `scale` times a parameter, or a constant."""

    def __init__(self, converter) -> None:
        self.n_modes, self.mapping = converter.circuit.m, converter.param_mapping
        self.steps, self.blocks = [], []
        self.angles, self.constants = [], []  # angles: input tensor, its column, scale
        for modes, component in converter.circuit:
            if component.name != "I":  # a barrier
                self._add(modes[0], component)

    def _add(self, mode: int, component) -> None:
        import perceval as pcvl

        if component.name == "PS":
            self._turn(mode, component.param("phi"))
        elif not isinstance(component, pcvl.BS):
            matrix = np.asarray(component.compute_unitary())
            self.steps.append((MIX, mode, len(self.blocks), len(matrix)))
            self.blocks.append(np.stack([matrix.real, matrix.imag]))
        else:
            theta, *corners = component.get_parameters(all_params=True)
            before, after = _AROUND[component._convention.name]
            # phases of the upper and the lower mode, before and behind the rotation
            self._turn(mode, corners[0])
            self._turn(mode + 1, corners[1], before)
            self._angle(SPLIT, mode, theta, 0.5)
            self._turn(mode, corners[2])
            self._turn(mode + 1, corners[3], after)

    def _turn(self, mode: int, parameter, more: float = 0.0) -> None:
        self._angle(TURN, mode, parameter, 1.0)
        self._angle(TURN, mode, more, 1.0)

    def _angle(self, what: int, mode: int, parameter, scale: float) -> None:
        if getattr(parameter, "is_variable", False):
            index = len(self.angles)
            self.angles.append((*self.mapping[parameter.name], scale))
        elif float(parameter) == 0:
            return
        else:
            self.constants.append(scale * float(parameter))
            index = -len(self.constants)
        self.steps.append((what, mode, index, 1 + (what == SPLIT)))

    def gates(self) -> Gates:
        """Matrices side by side, the smaller ones filled up."""
        size = max([1, *(block.shape[1] for block in self.blocks)])
        blocks = np.zeros((max(1, len(self.blocks)), 2, size, size))
        for place, block in zip(blocks, self.blocks, strict=False):
            place[:, : block.shape[1], : block.shape[1]] = block
        constants = np.array([0.0, *self.constants][bool(self.constants) :])
        constants = np.stack([np.cos(constants), np.sin(constants)], axis=1)
        steps = np.array(self.steps, dtype=np.int64).reshape(-1, 4)
        return Gates(self.n_modes, steps, constants, blocks)


def _fast_unitary(converter):
    """`converter.to_tensor`, compiled."""
    compiler = _Compiler(converter)
    gates, angles = compiler.gates(), np.array(compiler.angles).reshape(-1, 3)
    # by input tensor: the columns that are angles, with what factor, and whose turn they are
    parts = [np.flatnonzero(angles[:, 0] == k) for k in range(converter.nb_input_tensor)]
    columns = [angles[part, 1].astype(int).tolist() for part in parts]
    scales = [torch.from_numpy(angles[part, 2].copy()) for part in parts]
    order = torch.from_numpy(np.argsort(np.concatenate([*parts, np.zeros(0, int)]), kind="stable"))

    def to_tensor(*tensors, batch_size=None, **other):
        if len(tensors) == 1 and isinstance(tensors[0], list):
            tensors = tensors[0]
        batched = batch_size is not None or (len(tensors) > 0 and tensors[0].dim() > 1)
        size = batch_size or (len(tensors[0]) if batched else 1)
        values = (one.double()[..., taken] for one, taken in zip(tensors, columns, strict=True))
        every = [(x * k).expand(size, -1) for x, k in zip(values, scales, strict=True)]
        every = torch.cat([*every, torch.zeros(size, 0, dtype=torch.float64)], dim=1)[:, order]
        built = unitary(every, gates).to(converter.tensor_cdtype)
        return built if batched else built.squeeze(0)

    return to_tensor


def _fast_amplitudes(graph):
    """`graph.compute`, compiled."""
    unbunched = graph.computation_space.name == "UNBUNCHED"
    tables = fock_tables(graph.m, graph.n_photons, unbunched)
    slow = graph.compute

    def compute(matrix, input_state):
        photon_modes = np.repeat(np.arange(graph.m), input_state)
        if len(photon_modes) != graph.n_photons or (unbunched and max(input_state) > 1):
            return slow(matrix, input_state)  # which says what is wrong
        matrix = matrix.unsqueeze(0) if matrix.dim() == 2 else matrix
        forms = matrix[:, :, photon_modes.tolist()].transpose(1, 2).flatten(1)
        weights = torch.from_numpy(bunching_factors(tables, photon_modes.tolist())).sqrt()
        amplitudes = compiled_product(forms, tables) * weights.to(graph.dtype)
        graph.prev_amplitudes = amplitudes
        return graph.mapped_keys, amplitudes

    return compute
