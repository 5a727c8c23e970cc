"""Every figure of the book: one style, drawn from tables, returned as a Figure.

The colour and the marker of a head family (:data:`FAMILY_STYLE`) are the same everywhere.
"""

from qllm_helpers.figures.card import card_figure, write_card
from qllm_helpers.figures.circuits import circuit_drawing, mesh_figure, perceval_svg
from qllm_helpers.figures.primitives import (
    accuracy_by_parameters,
    beside,
    difference_forest,
    lines,
    seed_strip,
    selection_effect_histogram,
)
from qllm_helpers.figures.style import (
    COLORS,
    FAMILY_STYLE,
    INK,
    legend_above,
    new_figure,
    save,
    use_style,
)
