"""Every figure of the book: one style, drawn from tables, returned as a Figure.

The colour and the marker of a head family (:data:`FAMILY_STYLE`) are the same everywhere.
"""

from qllm_helpers.figures.charts import (
    accuracy_by_parameters,
    confusion_panels,
    phase_response,
    selection_effect_histogram,
    training_curves,
)
from qllm_helpers.figures.circuits import circuit_drawing, mesh_figure, perceval_svg
from qllm_helpers.figures.primitives import beside, difference_forest, lines, seed_strip
from qllm_helpers.figures.style import (
    COLORS,
    FAMILY_STYLE,
    INK,
    legend_above,
    new_figure,
    save,
    use_style,
)
