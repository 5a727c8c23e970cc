"""Grids as data become rows, one a fit."""
