"""Carry the repository address of ``_config.yml`` to every other file that names it.

To move the repository, change ``repository.url`` in ``_config.yml`` and run ``make address``.
"""

import yaml
from execute import ROOT, list_files

PLACES = ("README.md", "CITATION.cff", "pyproject.toml", "book", "notebooks", "qllm_helpers")
SUFFIXES = {".md", ".cff", ".toml", ".ipynb", ".py"}


def read_address(text):
    """Return ``owner/name`` of the first repository address in the text of a YAML file."""
    settings = yaml.safe_load(text)
    url = settings.get("repository-code") or settings["repository"]["url"]
    return url.removeprefix("https://github.com/").rstrip("/")


def main():
    """Replace the old address, which CITATION.cff still holds, wherever it stands."""
    new = read_address((ROOT / "_config.yml").read_text(encoding="utf-8"))
    old = read_address((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    if new == old:
        print(f"every file already names {new}")
        return
    for path in list_files(PLACES):
        if path.suffix in SUFFIXES:
            text = path.read_text(encoding="utf-8")
            if old in text:
                path.write_text(text.replace(old, new), encoding="utf-8")
                print(f"{path.relative_to(ROOT)}: {old} is now {new}")


if __name__ == "__main__":
    main()
