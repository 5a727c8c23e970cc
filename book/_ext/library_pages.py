"""Text of pages that comes from the library and its rows.

Each piece is a substitution: a page says ``{{ public_names }}`` where it belongs, so that no number
on a page of prose is typed by hand.
"""

import inspect
import json
import platform
import re
from pathlib import Path

import pandas as pd
import yaml

import qllm_helpers
from qllm_helpers import load_results
from qllm_helpers.results.intervals import having
from qllm_helpers.studies.grid import STUDY_NAMES, load_units
from qllm_helpers.studies.table import VERSIONS, shipped_table
from qllm_helpers.text.encoders import DEFAULT_ENCODER

ROOT = Path(__file__).resolve().parent.parent.parent


def write_table(rows, titles):
    """Return a table in Markdown; ``|`` in a cell would end it."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def describe_public_names():
    """Return the directives that document every public name, under the module where it lives."""
    lines, module = [], None
    for name in qllm_helpers.__all__:
        if name.startswith("__"):
            continue
        value = getattr(qllm_helpers, name)
        home = inspect.getmodule(value)
        if home is not module:
            module = home
            lines += ["", f"## {home.__doc__.splitlines()[0].rstrip('.')}", ""]
        directive = "autoclass" if inspect.isclass(value) else "autofunction"
        options = "   :members:\n   :show-inheritance:\n" if inspect.isclass(value) else ""
        lines.append(f"```{{eval-rst}}\n.. {directive}:: qllm_helpers.{name}\n{options}```\n")
    return "\n".join(lines)


def shipped_results():
    """Return the rows of every study that has been run, in the order of the studies."""
    return {name: load_results(name) for name in STUDY_NAMES if shipped_table(name).is_file()}


def main_rows():
    """Return the rows of every study on the default body, with settings from the pool."""
    found = {}
    for name, rows in shipped_results().items():
        kept = rows["encoder"].eq(DEFAULT_ENCODER) & rows["selection"].eq("pool")
        if kept.any():
            found[name] = rows[kept]
    return found


def name_all(values):
    """Return the different values in order of appearance; whole numbers without gaps as a range."""
    known = list(values.dropna().unique())
    if pd.api.types.is_integer_dtype(values):
        known = sorted(known)
        if len(known) > 1 and known == list(range(known[0], known[-1] + 1)):
            return f"{known[0]} to {known[-1]}"
    return ", ".join(map(str, known))


def describe_studies(results):
    """Return tables of the studies: their size and cost, and their versions.

    A head counts once for each body and each way of selecting. The cost is that of all fits on one
    core, without searches and the tuning of bodies; "+" after a revision: with changes.
    """
    sizes, costs, versions = [], [], {}
    for name, rows in results.items():
        heads = len(rows[["head", "encoder", "fine_tuned", "selection"]].drop_duplicates())
        settings = max(len(unit.settings) for unit in load_units(name))
        revision, command = name_all(rows["git_revision"]), f"`qllm study {name}`"
        sizes.append((command, heads, name_all(rows["seed"]), settings, len(rows), revision))
        costs.append((command, f"{rows['fit_seconds'].sum() / 60:.1f}"))
        versions[name] = [name_all(rows[what]) for what in VERSIONS]
    titles = ("command", "heads", "seeds", "settings a head", "rows", "revision of the code")
    files = ", ".join(
        f"{{download}}`{name}.csv <../qllm_helpers/data/results/{name}.csv>`" for name in results
    )
    return {
        "study_sizes": write_table(sizes, titles),
        "study_costs": write_table(costs, ("command", "minutes on one core")),
        "row_versions": write_table(
            zip(VERSIONS, *versions.values(), strict=True), ("what", *versions)
        ),
        "row_files": files,
    }


def write_gap(row):
    """Return a difference with its 95 % interval in points; nothing where it is not known."""
    if pd.isna(row["difference"]):
        return ""
    gap, low, high = (f"{100 * row[name]:+.2f}" for name in ("difference", "low", "high"))
    met = row["shift"]
    return f"{gap} [{low}, {high}]" + (f" beside {100 * met:+.2f}" if met else "")


def describe_verdicts():
    """Return a table of claims and verdicts for each family, and how many of each there are."""
    from qllm_helpers.results.contrasts import NOT_RUN, VERDICTS

    table, parts = qllm_helpers.load_verdicts(), []
    titles = ("claim", "body", "points, 95 % interval", "verdict", "seeds")
    for family, rows in table.groupby("family", sort=False):
        lines = []
        for row in rows.to_dict("records"):
            seeds = "" if row["verdict"] == NOT_RUN else row["n_seeds"]
            lines.append((row["claim"], row["body"], write_gap(row), row["verdict"], seeds))
        parts.append(f"### {family[0].upper()}{family[1:]}\n\n{write_table(lines, titles)}")
    counts = table["verdict"].value_counts().reindex([*VERDICTS, NOT_RUN], fill_value=0)
    short = table[table["because"] != ""].drop_duplicates("claim")
    reasons = write_table(short[["claim", "because"]].to_numpy(), ("claim", "why fewer seeds"))
    return {
        "verdict_tables": "\n\n".join(parts),
        "verdict_counts": write_table(counts.items(), ("verdict", "claims")),
        "verdict_reasons": reasons if len(short) else "None has fewer.",
    }


def describe_heads():
    """Return a table of our heads and one of those handed in, each against one reference."""
    where = {"reference": "LogisticRegression, C = 1", "dataset": "sst2", "protocol": "paper"}
    where |= {"body": f"{DEFAULT_ENCODER}, frozen", "selection": "pool"}
    found = {"book_heads": [qllm_helpers.load_verdicts()], "reader_heads": []}
    for path in sorted((ROOT / "book" / "heads").glob("*/verdicts.csv")):
        found["reader_heads"].append(pd.read_csv(path))
    pages, titles = {}, ("head", "points, 95 % interval", "verdict", "seeds")
    for name, tables in found.items():
        lines = []
        for row in (row for table in tables for row in having(table, where).to_dict("records")):
            if shown := write_gap(row):
                lines.append((row["head"], shown, row["verdict"], int(row["n_seeds"])))
        lines = list(dict.fromkeys(lines))
        pages[name] = write_table(lines, titles) if lines else "None was handed in so far."
    return pages


def describe_results():
    """Return the headline table and the explorer."""
    from qllm_helpers.figures.moving import mode_photon_explorer
    from qllm_helpers.results import headline

    table = headline.headline_table()
    sets = headline.explorer_rows(main_rows())
    explorer = mode_photon_explorer(headline.explorer_table(sets))
    return {
        "headline_table": headline.headline_markdown(table),
        "explorer": f"```{{raw}} html\n{explorer.data}\n```",
    }


def describe_execution():
    """Return how long the notebooks of this build took, if they were executed for it."""
    timed = sorted((ROOT / "_build" / "executed").glob("*.seconds"))
    lines = [(path.stem, f"{float(path.read_text()):.0f}") for path in timed]
    if not lines:
        return "The notebooks of this build show their committed outputs: none was executed."
    total = sum(float(path.read_text()) for path in timed)
    lines.append(("all", f"{total:.0f}"))
    return write_table(lines, ("notebook", "seconds"))


def count_minutes():
    """Return how long each notebook takes to read, as its first cell says, by its first word."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        minutes = re.search(r"^\*\*How long\.\*\* About (\d+) minutes to read", first, re.MULTILINE)
        number = path.stem.split("_")[0]
        found["chapter" + number if number.isdigit() else path.stem] = int(minutes[1])
    return found


def describe_citation(config):
    """Return the BibTeX entry of the book, from CITATION.cff."""
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    authors = " and ".join(f"{{{author['name']}}}" for author in about["authors"])
    entry = {
        "title": f"{{{about['title']}}}",
        "author": authors,
        "year": config.copyright,
        "version": about["version"],
        "url": about["repository-code"],
    }
    fields = ",\n".join(f"  {name} = {{{value}}}" for name, value in entry.items())
    return f"```bibtex\n@software{{qllmbook,\n{fields}\n}}\n```"


def add_substitutions(app, config):
    """Give the pages what the library says now."""
    results = shipped_results()
    config.myst_substitutions = {
        **config.myst_substitutions,
        **describe_studies(results),
        **describe_results(),
        **describe_verdicts(),
        **describe_heads(),
        "public_names": describe_public_names(),
        "execution_times": describe_execution(),
        "bibtex": describe_citation(config),
        "minutes": count_minutes(),
        "build_platform": f"{platform.system()} on {platform.machine()}",
    }


def skip_inherited(app, what, name, value, skip, options):
    """Leave out what scikit-learn adds to every estimator for its metadata routing."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("autodoc-skip-member", skip_inherited)
    app.connect("config-inited", add_substitutions)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
