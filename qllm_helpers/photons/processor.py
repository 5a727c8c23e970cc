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
    """Connect MerLin to a processor for a circuit; shots with fewer photons are discarded.

    `platform` is "local" for a sampling simulation on this computer, or the name of a platform of
    the Quandela cloud, such as "sim:belenos" or "qpu:belenos". `noise` is for the simulation; a
    chip brings its own. Raises ValueError if a remote platform is asked for without a token in
    `TOKEN_VARIABLE`, or with noise.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if platform != LOCAL and noise is not None:
        raise ValueError(f"{platform} has its own noise: leave noise out.")
    if platform != LOCAL and not token:
        raise ValueError(
            f"{platform} needs a token: create one in your account of the Quandela cloud and set "
            f"the environment variable {TOKEN_VARIABLE}. It is not stored."
        )
    import merlin
    import perceval as pcvl

    if platform == LOCAL:
        model = None if noise is None else to_noise_model(noise)
        processor, known = pcvl.Processor("CliffordClifford2017", n_modes, noise=model), {}
    else:
        processor, known = pcvl.RemoteProcessor(platform, token=token), {"token": token}
    processor.min_detected_photons_filter(n_photons)
    return merlin.MerlinProcessor(processor=processor, **known)


@torch.no_grad()
def processor_probabilities(
    layer: merlin.QuantumLayer,
    phases: torch.Tensor,
    processor: merlin.MerlinProcessor,
    n_shots: int,
) -> torch.Tensor:
    """Relative frequencies (B, N) of a layer's outputs on a processor, in the layer's order.

    `layer` comes from `PhotonicLayer.to_merlin`, in evaluation mode; each row of `phases` (B, m),
    radians, is one circuit with `n_shots` kept shots.
    """
    return processor.forward(layer, phases.detach(), nsample=int(n_shots)).detach()
