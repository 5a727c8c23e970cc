"""Correct small things in the built pages that the theme and its helpers get wrong.

A page opened from disk asks for nothing that it may not have, and a screen reader finds its way:
the tests of the site check both.
"""

import re
from pathlib import Path

# What to look for, what to put there, and why.
CORRECTIONS = (
    # Browsers refuse this early request for files on disk; the style sheet loads the fonts anyway.
    (r'<link rel="preload" as="font"[^>]*>\s*', ""),
    # The bar on the left holds the logo and the search beside the navigation.
    (
        r'<div class="(bd-sidebar-primary bd-sidebar[^"]*)"',
        r'<div class="\1" role="complementary" aria-label="Book"',
    ),
    # What scrolls sideways on a phone must be reachable without a mouse.
    (
        r'<div class="pst-scrollable-table-container">',
        '<div class="pst-scrollable-table-container" tabindex="0">',
    ),
    # A list whose entries hold links beside them is none, and the role of its entries is retired.
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
    (r' role="doc-biblioentry"', ""),
    # The corner of a table is no heading of anything.
    (r"<th\b([^>]*)>((?:\s|&nbsp;|&#160;|</?p>)*)</th>", r"<td\1></td>"),
)


def correct_pages(app, exception):
    """Apply the corrections to every page once all are written."""
    if exception is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = corrected = page.read_text(encoding="utf-8")
        for pattern, replacement in CORRECTIONS:
            corrected = re.sub(pattern, replacement, corrected)
        if corrected != text:
            page.write_text(corrected, encoding="utf-8")


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("build-finished", correct_pages)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
