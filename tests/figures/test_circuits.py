"""Figures of interferometers draw what they are given, repeat, and read on any page."""

import pytest

from qllm_helpers import figures
from qllm_helpers.figures import FAMILY_STYLE, INK, save


def draw_mesh():
    return figures.mesh_figure((1, 0, 1), [True] * 9, [True] * 5 + [False] * 4)


def test_the_figure_repeats_byte_for_byte(tmp_path):
    paths = [tmp_path / f"{attempt}.svg" for attempt in ("first", "second")]
    for path in paths:
        figure = draw_mesh()
        save(figure, path)
        assert figure.get_figwidth() <= 6.4
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_mesh_marks_every_phase_and_says_which_are_dead():
    axes = draw_mesh().axes[0]
    # those without a place are in the legend only
    lines = [line for line in axes.lines if len(line.get_xdata())]
    faces = [line.get_markerfacecolor() for line in lines if line.get_marker() == "o"]
    assert len(faces) == 2 * 3**2
    assert faces.count("none") == 4
    assert faces.count(FAMILY_STYLE["photonic"].color) == 14
    assert [line.get_marker() for line in lines].count("D") == 3
    assert [text.get_text() for text in axes.texts[:3]] == ["1", "0", "1"]


def test_percevals_drawing_gets_the_books_ink():
    import perceval as pcvl

    circuit = pcvl.Circuit(2) // pcvl.BS() // pcvl.PS(pcvl.P("x"))
    drawn = [
        figures.perceval_svg(pcvl.pdisplay(circuit, output_format=pcvl.Format.HTML)).data
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    for color in ("black", "darkred", "thistle", "lightpink"):
        assert color not in drawn[0]
    assert INK in drawn[0]
    assert "x" in drawn[0]
    assert "Rx" not in drawn[0]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="9 values for each mesh of 3 modes"):
        figures.mesh_figure((1, 0, 1), [True] * 9, [True] * 8)
    with pytest.raises(ValueError, match="Format.HTML"):
        figures.perceval_svg("<svg/>")
