"""Rows become intervals, tests and verdicts."""
