"""Figures of interferometers draw what they are given, repeat, and read on any page."""

import numpy as np
import pytest

from qllm_helpers import figures
from qllm_helpers.figures import FAMILY_STYLE, INK, save


def turn(n):
    return 2 * np.pi * np.arange(n) / n


def draw_all():
    wave = np.stack([np.cos(2 * turn(16)) ** 2, np.sin(2 * turn(16)) ** 2], axis=1)
    return {
        "phase": figures.phase_response(turn(16), {"2 photons": wave}),
        "mesh": figures.mesh_figure((1, 0, 1), [True] * 9, [True] * 5 + [False] * 4),
    }


def test_every_figure_repeats_byte_for_byte(tmp_path):
    for attempt in ("first", "second"):
        for name, figure in draw_all().items():
            save(figure, tmp_path / f"{attempt}-{name}.svg")
            assert figure.get_figwidth() <= 6.4, name
    for first in tmp_path.glob("first-*.svg"):
        second = first.with_name(first.name.replace("first", "second"))
        assert first.read_bytes() == second.read_bytes(), first.name


def test_spectrum_shows_the_frequencies_of_the_probabilities():
    marks = draw_all()["phase"].axes[1].lines[0]
    # cos(2x)^2 = 1/2 + cos(4x)/2: one coefficient of 1/4, at frequency 4
    assert dict(zip(marks.get_xdata(), marks.get_ydata(), strict=True)) == {
        frequency: 0.25 * (frequency == 4) for frequency in range(1, 8)
    }


def test_mesh_marks_every_phase_and_says_which_are_dead():
    axes = draw_all()["mesh"].axes[0]
    faces = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"]
    assert len(faces) == 2 * 3**2
    assert faces.count("none") == 4
    assert faces.count(FAMILY_STYLE["photonic"].color) == 14
    assert [line.get_marker() for line in axes.lines].count("D") == 3
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
    with pytest.raises(ValueError, match="equally spaced"):
        figures.phase_response([0.0, 1.0, 2.0], {"1 photon": np.zeros((3, 2))})
    with pytest.raises(ValueError, match="Format.HTML"):
        figures.perceval_svg("<svg/>")
