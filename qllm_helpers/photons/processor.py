"""A trained head on a Perceval processor: on this computer, or a photonic chip in the cloud.

Only the name of the platform differs. The token of a remote platform is read from an environment
variable by whoever connects, is handed on, and is neither printed nor stored.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import merlin
    import perceval

    from qllm_helpers.photons.noise import Noise

__all__ = ["TOKEN_VARIABLE", "open_processor", "processor_probabilities", "to_noise_model"]

#: Where the token of the cloud is looked for; Perceval uses the same name.
TOKEN_VARIABLE = "PCVL_CLOUD_TOKEN"
LOCAL = "local"


def to_noise_model(noise: Noise) -> perceval.NoiseModel:
    """Source, loss and phase errors as Perceval's noise model (detectors are not part of it)."""
    import perceval as pcvl

    names = ("brightness", "transmittance", "indistinguishability")
    names += ("g2", "phase_error", "phase_imprecision")
    return pcvl.NoiseModel(**{name: getattr(noise, name) for name in names})


def open_processor(
    platform: str = LOCAL, *, n_modes: int, n_photons: int, noise: Noise | None = None
) -> merlin.MerlinProcessor:
    """Connect MerLin to a processor.

    Parameters
    ----------
    platform : str
        "local" for a sampling simulation on this computer, or the name of a platform of the
        Quandela cloud, such as "sim:belenos" or "qpu:belenos".
    n_modes, n_photons : int
        Of the circuit; shots with fewer photons are discarded.
    noise : Noise, optional
        For the local simulation only; a chip brings its own.

    Returns
    -------
    merlin.MerlinProcessor

    Raises
    ------
    ValueError
        If a remote platform is asked for without a token in `TOKEN_VARIABLE`, or with noise.
    """
    if platform != LOCAL:
        return _remote(platform, n_photons, noise)
    import merlin
    import perceval as pcvl

    model = None if noise is None else to_noise_model(noise)
    processor = pcvl.Processor("CliffordClifford2017", n_modes, noise=model)
    processor.min_detected_photons_filter(n_photons)
    return merlin.MerlinProcessor(processor=processor)


def _remote(platform: str, n_photons: int, noise: Noise | None) -> merlin.MerlinProcessor:
    if noise is not None:
        raise ValueError(f"{platform} has its own noise: leave noise out.")
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise ValueError(
            f"{platform} needs a token: create one in your account of the Quandela cloud and set "
            f"the environment variable {TOKEN_VARIABLE}. It is not stored."
        )
    import merlin
    import perceval as pcvl

    processor = pcvl.RemoteProcessor(platform, token=token)
    processor.min_detected_photons_filter(n_photons)
    return merlin.MerlinProcessor(processor=processor, token=token)


@torch.no_grad()
def processor_probabilities(
    layer: merlin.QuantumLayer,
    phases: torch.Tensor,
    processor: merlin.MerlinProcessor,
    n_shots: int,
) -> torch.Tensor:
    """Relative frequencies of a layer's outputs on a processor.

    Parameters
    ----------
    layer : merlin.QuantumLayer
        From `PhotonicLayer.to_merlin`, in evaluation mode.
    phases : tensor, shape (B, m), radians
        One circuit for each row.
    processor : merlin.MerlinProcessor
        From `open_processor`.
    n_shots : int
        Kept shots for each row.

    Returns
    -------
    tensor, shape (B, N)
        In the layer's order, summing to 1.
    """
    return processor.forward(layer, phases.detach(), nsample=int(n_shots)).detach()
