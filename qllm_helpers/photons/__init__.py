"""Photons in an interferometer: the layer, its kernels, noise, and the bridge to MerLin."""
