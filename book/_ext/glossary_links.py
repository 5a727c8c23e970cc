"""Link the first use of every glossary term on a page, unless the page does so itself."""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

GLOSSARY = Path(__file__).resolve().parent.parent / "glossary.md"
# Words that mean other things too are linked by hand, where they mean what the glossary says.
BY_HAND = {"body", "encoder", "head", "line", "logit", "phase", "point", "row", "shot", "split"}
BY_HAND |= {"twin", "validation"}
NOT_HERE = ("book/api/", "book/glossary", "book/references", "book/changelog", "book/contributing")
# Inside of these a word is no running text.
SKIPPED = (nodes.reference, nodes.title, nodes.literal, nodes.math, nodes.raw, nodes.caption)
SKIPPED += (nodes.literal_block, nodes.citation, nodes.table, nodes.term, addnodes.pending_xref)


def read_terms():
    """Return the terms of the glossary: the lines there that something indented follows."""
    text = GLOSSARY.read_text(encoding="utf-8")
    block = re.search(r"^```\{glossary\}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]
    return re.findall(r"^(\S.*)\n {2}\S", block, re.MULTILINE)


def pattern_of(terms):
    """Return an expression for any of the terms, longest first, as whole words."""
    longest = sorted(terms, key=len, reverse=True)
    words = "|".join(re.escape(term) for term in longest)
    return re.compile(rf"(?<![\w-])({words})((?:e?s)?)(?![\w-])", re.IGNORECASE)


def is_prose(node):
    """Whether a text stands in a paragraph and in nothing that is not read as a sentence."""
    inside_paragraph = False
    while node.parent is not None:
        node = node.parent
        if isinstance(node, SKIPPED) or "cell" in node.get("classes", ()):
            return False
        inside_paragraph = inside_paragraph or isinstance(node, nodes.paragraph)
    return inside_paragraph


def link_to(term, shown, docname):
    """Return a cross-reference to a term that shows the words of the text."""
    options = {"refdomain": "std", "reftype": "term", "reftarget": term, "refexplicit": True}
    link = addnodes.pending_xref("", **options, refwarn=True, refdoc=docname)
    link += nodes.inline(shown, shown, classes=["xref", "std", "std-term"])
    return link


def link_first_uses(app, doctree):
    """Put the links into a page that has just been read."""
    docname = app.env.docname
    if docname.startswith(NOT_HERE):
        return
    linked = {
        link["reftarget"].lower()
        for link in doctree.findall(addnodes.pending_xref)
        if link.get("reftype") == "term"
    }
    todo = {term.lower(): term for term in read_terms()}
    todo = {key: term for key, term in todo.items() if key not in linked | BY_HAND}
    for text in [node for node in doctree.findall(nodes.Text) if is_prose(node)]:
        parts, rest = [], str(text)
        while todo and (found := pattern_of(todo.values()).search(rest)):
            parts.append(nodes.Text(rest[: found.start()]))
            parts.append(link_to(todo.pop(found[1].lower()), found[0], docname))
            rest = rest[found.end() :]
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(rest)])


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("doctree-read", link_first_uses)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
