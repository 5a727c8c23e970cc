"""Torch modules from an embedding to logits, and the counting of their parameters."""
