"""Render the executed copy of a notebook while its source stays as committed.

``make book`` writes executed notebooks to ``_build/executed``. When Sphinx reads
``notebooks/NAME.ipynb`` this extension hands it ``_build/executed/NAME.ipynb`` instead, if there
is one, so the pages show this run's outputs and every link still points at the source.
"""

from pathlib import Path


def substitute_executed(app, docname, source):
    """Replace the text that Sphinx has just read by the executed notebook's.

    Parameters
    ----------
    app : sphinx.application.Sphinx
    docname : str
        Page name without suffix, e.g. ``notebooks/01_embeddings``.
    source : list of str
        One string, replaced in place: the interface of the ``source-read`` event.
    """
    if not docname.startswith("notebooks/"):
        return
    executed = Path(app.srcdir, "_build", "executed", Path(docname).name + ".ipynb")
    if executed.exists():
        source[0] = executed.read_text(encoding="utf-8")
        app.env.note_dependency(str(executed))


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("source-read", substitute_executed)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
