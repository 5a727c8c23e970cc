"""Make the built pages open from disk without a failed request.

The theme asks browsers to fetch its icon fonts early, in a way that they refuse for files on disk.
The style sheet loads the same fonts a moment later, so the early request can go.
"""

import re
from pathlib import Path

EARLY_FONT = re.compile(r'<link rel="preload" as="font"[^>]*>\s*')


def drop_early_fonts(app, exception):
    """Remove the hint from every page once all are written."""
    if exception is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if EARLY_FONT.search(text):
            page.write_text(EARLY_FONT.sub("", text), encoding="utf-8")


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("build-finished", drop_early_fonts)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
