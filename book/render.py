"""Render the book with jupyter-book, warnings as errors, unless nothing has changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from execute import EXECUTED, ROOT, digest, list_files

BUILD = ROOT / "_build"
INPUTS = (
    *("_config.yml", "_toc.yml", "book", "notebooks", "constraints.txt"),
    *("CITATION.cff", "CONTRIBUTING.md", "qllm_helpers"),
)


def discard_stale_copies():
    """Delete executed copies whose source notebook is gone."""
    for copy in EXECUTED.glob("*.ipynb"):
        if not (ROOT / "notebooks" / copy.name).exists():
            copy.unlink()
            for suffix in (".sha256", ".seconds"):
                copy.with_suffix(suffix).unlink(missing_ok=True)


def build():
    """Build every page from scratch; a page that glues a number depends on another notebook."""
    # A page removed from the table of contents must not survive as a file nobody links to.
    shutil.rmtree(BUILD / "html", ignore_errors=True)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(ROOT)]
    subprocess.run(
        [*command, "--all", "-W", "-n", "--keep-going", "--quiet"],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def main():
    """Build when an input has changed since the last good build, and say where the page is."""
    discard_stale_copies()
    page = BUILD / "html" / "index.html"
    stamp = BUILD / "html.sha256"
    wanted = digest([*list_files(INPUTS), *sorted(EXECUTED.glob("*.ipynb"))])
    if page.exists() and stamp.exists() and stamp.read_text() == wanted:
        print("pages unchanged")
    else:
        stamp.unlink(missing_ok=True)
        try:
            build()
        except subprocess.CalledProcessError as error:
            sys.exit(f"jupyter-book failed with status {error.returncode}; see the warnings above")
        stamp.write_text(wanted)
    print(f"Open {page.relative_to(ROOT)}  ({page.as_uri()})")


if __name__ == "__main__":
    main()
