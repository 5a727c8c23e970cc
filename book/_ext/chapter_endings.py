"""End every chapter with what a reader may want to take away: notebook, rows, citation, link.

The cell is added when Sphinx reads a notebook, after its executed copy has been put in place; the
notebook itself stays as it is.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "qllm_helpers" / "data" / "results"
USES_ROWS = re.compile(r'(?:load_results|study_rows|load_measurements)\("(\w+)"')

ENDING = """\
## Take this chapter with you

- **Notebook**: {{download}}`{name}.ipynb <{name}.ipynb>`, or open it
  [in Colab](https://colab.research.google.com/github/{slug}/blob/{branch}/notebooks/{name}.ipynb)
  or [on Binder](https://mybinder.org/v2/gh/{slug}/{branch}?urlpath=lab/tree/notebooks/{name}.ipynb)
{rows}- **Something wrong?** [Edit this page](https://github.com/{slug}/edit/{branch}/notebooks/{name}.ipynb)
  or [open an issue](https://github.com/{slug}/issues/new)

````{{dropdown}} Cite this chapter
{bibtex}
[How to cite](../book/cite.md) has the whole book, and the works that it repeats.
````
"""


def list_rows(text):
    """Return a line with the tables that a notebook reads, or nothing."""
    names = [name for name in dict.fromkeys(USES_ROWS.findall(text))]
    shipped = [name for name in names if (RESULTS / f"{name}.csv").exists()]
    links = [
        f"{{download}}`{name}.csv <../qllm_helpers/data/results/{name}.csv>`" for name in shipped
    ]
    return f"- **Rows** behind the figures: {', '.join(links)}\n" if links else ""


def write_ending(app, name, notebook):
    """Return the last cell of a chapter, as Markdown."""
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    title = sources[0].splitlines()[0].lstrip("# ")
    whole = app.config.myst_substitutions["bibtex"]
    entry = whole.replace("@software{qllmbook", f"@incollection{{qllmbook:{name}")
    entry = entry.replace("  title = ", f"  title = {{{{{title}}}}},\n  booktitle = ")
    options = app.config.html_theme_options
    return ENDING.format(
        name=name,
        slug=options["repository_url"].removeprefix("https://github.com/"),
        branch=options["repository_branch"],
        rows=list_rows("\n".join(sources)),
        bibtex=entry,
    )


def add_ending(app, docname, source):
    """Append the last cell to a notebook that Sphinx has just read."""
    if not docname.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    cell = {"cell_type": "markdown", "id": "take-away", "metadata": {}}
    cell["source"] = write_ending(app, Path(docname).name, notebook)
    notebook["cells"].append(cell)
    source[0] = json.dumps(notebook)


def setup(app):
    """Register the extension with Sphinx; after the executed copy is there, which is sooner."""
    app.connect("source-read", add_ending, priority=900)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
