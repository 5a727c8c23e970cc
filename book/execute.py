"""Execute the notebooks with papermill, one progress line each.

``python book/execute.py`` writes executed copies to ``_build/executed`` and skips a notebook when
nothing that it depends on has changed. ``python book/execute.py --in-place`` runs every notebook
with its own parameters and writes the outputs into ``notebooks/``, ready to be committed.
"""

import argparse
import hashlib
import logging
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import papermill
from joblib import Parallel, delayed

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "notebooks"
EXECUTED = ROOT / "_build" / "executed"
LIBRARY = ("qllm_helpers", "pyproject.toml", "constraints.txt", "book/execute.py")


def list_files(names):
    """Return every file at or below the given paths of the repository, sorted."""
    files = []
    for name in names:
        path = ROOT / name
        files += [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sorted(p for p in files if "__pycache__" not in p.parts)


def digest(files, *extra):
    """Return the SHA-256 of the files' names and contents and of extra strings."""
    total = hashlib.sha256("\0".join(extra).encode())
    for path in files:
        total.update(str(path.relative_to(ROOT)).encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def normalise(notebook):
    """Remove what differs between two runs or machines, and hide the injected parameters."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags and "remove-cell" not in tags:
            tags.append("remove-cell")
        for key in ("papermill", "execution", "widgets"):
            cell.metadata.pop(key, None)
    return notebook


def execute(source, target, parameters):
    """Run one notebook in the notebooks' folder and write the normalised result.

    Parameters
    ----------
    source, target : pathlib.Path
        They may be the same file; the target is written only when every cell has run.
    parameters : dict
        Values for the cell tagged ``parameters``; empty keeps the notebook's own.

    Raises
    ------
    papermill.PapermillExecutionError
        When a cell fails; the message holds its traceback.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder, source.name)
        papermill.execute_notebook(
            str(source),
            str(scratch),
            parameters=parameters,
            cwd=str(SOURCES),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(normalise(nbformat.read(scratch, as_version=4)), target)


def measures_time(source):
    """Whether a notebook shows timings of its own: it then runs while nothing else does."""
    cells = nbformat.read(source, as_version=4).cells
    return any("nbval-ignore-output" in cell.metadata.get("tags", []) for cell in cells)


def run_one(source, profile, library, in_place):
    """Execute one notebook if it needs it, and return what there is to say."""
    logging.getLogger("papermill").setLevel(logging.ERROR)
    start = time.perf_counter()
    if in_place:
        execute(source, source, {})
        return f"{source.stem} … {time.perf_counter() - start:.0f} s"
    target = EXECUTED / source.name
    stamp = target.with_suffix(".sha256")
    wanted = digest([source], library)
    if target.exists() and stamp.exists() and stamp.read_text() == wanted:
        return f"{source.stem} … unchanged"
    stamp.unlink(missing_ok=True)
    execute(source, target, {"PROFILE": profile})
    stamp.write_text(wanted)
    seconds = time.perf_counter() - start
    # For the page that says how long everything takes.
    target.with_suffix(".seconds").write_text(f"{seconds:.1f}")
    return f"{source.stem} … {seconds:.0f} s"


def run(notebooks, profile, in_place, jobs):
    """Execute the notebooks that need it and say so, one line each as they end."""
    library = digest(list_files(LIBRARY), profile)
    alone = [source for source in notebooks if measures_time(source)]
    together = [source for source in notebooks if source not in alone]
    number = 0
    for batch, n_jobs in ((together, jobs), (alone, 1)):
        tasks = (delayed(run_one)(source, profile, library, in_place) for source in batch)
        for line in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(tasks):
            number += 1
            print(f"[{number}/{len(notebooks)}] {line}", flush=True)


def main():
    """Parse the command line and run; exit with status 1 when there is nothing to run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="notebooks to run, e.g. 01_embeddings; else all")
    parser.add_argument("--profile", choices=("quick", "full"), default="quick")
    parser.add_argument("--in-place", action="store_true", help="write outputs into notebooks/")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time, default 2")
    options = parser.parse_args()
    notebooks = sorted(SOURCES.glob("*.ipynb"))
    wanted = {Path(name).stem for name in options.names}
    missing = wanted - {path.stem for path in notebooks}
    if missing or not notebooks:
        sys.exit(f"no such notebook in {SOURCES.name}/: {', '.join(sorted(missing)) or '*.ipynb'}")
    chosen = [p for p in notebooks if not wanted or p.stem in wanted]
    run(chosen, options.profile, options.in_place, options.jobs)


if __name__ == "__main__":
    main()
