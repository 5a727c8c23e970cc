"""Every figure of the book: one style, drawn from tables, returned as a Figure.

A notebook calls :func:`use_style` once and then one function a figure. The colour and the marker
of a head family (:data:`FAMILY_STYLE`) are the same everywhere.
"""

from qllm_helpers.figures.charts import (
    accuracy_by_parameters,
    coincidence_curve,
    confusion_panels,
    embedding_map,
    phase_response,
    selection_effect_histogram,
)
from qllm_helpers.figures.circuits import circuit_drawing, mesh_figure, perceval_svg
from qllm_helpers.figures.lines import lines, training_curves
from qllm_helpers.figures.rows import beside, difference_forest, seed_strip
from qllm_helpers.figures.style import (
    AXIS,
    COLORS,
    FAMILY_STYLE,
    INK,
    SEQUENCE,
    WIDTH,
    legend_above,
    new_figure,
    save,
    use_style,
)

__all__ = [
    "AXIS",
    "COLORS",
    "FAMILY_STYLE",
    "INK",
    "SEQUENCE",
    "WIDTH",
    "accuracy_by_parameters",
    "beside",
    "circuit_drawing",
    "coincidence_curve",
    "confusion_panels",
    "difference_forest",
    "embedding_map",
    "legend_above",
    "lines",
    "mesh_figure",
    "new_figure",
    "perceval_svg",
    "phase_response",
    "save",
    "seed_strip",
    "selection_effect_histogram",
    "training_curves",
    "use_style",
]
