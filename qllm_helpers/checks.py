"""Arguments of one kind are checked in one place: whole numbers, real numbers, names, memory.

Every check happens before any work is done, and its message says what would be right.
"""

import math
from collections.abc import Collection
from numbers import Integral, Real

import psutil

# A question about free memory costs as much as a small forward pass: only larger sizes ask it.
_UNASKED = 2**26


def integer(name: str, value, least: int = 1, most: int | None = None) -> int:
    """`value` as an int between `least` and `most`; True and 2.0 are none. Raises ValueError."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        bound = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{name} must be a whole number, {bound}, not {value!r}")
    return int(value)


def real(
    name: str, value, least: float = 0.0, most: float = math.inf, *, open_below=False
) -> float:
    """`value` as a finite float between `least` and `most`. Raises ValueError."""
    known = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not known or value < least or value > most or (open_below and value == least):
        low = f"above {least:g}" if open_below else f"at least {least:g}"
        high = "" if most == math.inf else f" and at most {most:g}"
        raise ValueError(f"{name} must be a finite number {low}{high}, not {value!r}")
    return float(value)


def choice(name: str, value, known: Collection[str]) -> str:
    """`value`, one of the `known` names. Raises ValueError."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, not {value!r}")
    return value


def memory(what: str, n_bytes: float) -> None:
    """Refuse what does not fit into the free memory, before anything is allocated.

    `what` names it with its size ("the 68,923,264,410 Fock states of ..."), `n_bytes` is a lower
    estimate. Raises MemoryError with the memory that is needed and the memory that is free.
    """
    if n_bytes <= _UNASKED:
        return
    free = psutil.virtual_memory().available
    if n_bytes > free:
        raise MemoryError(
            f"{what} would need {n_bytes / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB "
            "are free: choose a smaller size"
        )
