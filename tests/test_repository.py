"""House rules: one address, one list of dependencies, imports one way, notebooks that compare."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = sorted((ROOT / "qllm_helpers").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ADDRESS = CONFIG["repository"]["url"]
SLUG = ADDRESS.removeprefix("https://github.com/")
COLAB = f"https://colab.research.google.com/github/{SLUG}/blob/{CONFIG['repository']['branch']}/"


@cache
def tracked_texts():
    """The text files under version control, by their path in the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    suffixes = {".py", ".ipynb", ".md", ".yml", ".toml", ".txt", ".cff", ".css", ".js", ".bib", ""}
    names = [name for name in listing.stdout.splitlines() if Path(name).suffix in suffixes]
    paths = {name: ROOT / name for name in names if (ROOT / name).is_file()}
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items()}


def imports(path):
    """Yield (node, dotted module name) of every import in a file of the library."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level and node.module is None:
                yield from ((node, f"qllm_helpers.{alias.name}") for alias in node.names)
            elif node.level:
                yield node, f"qllm_helpers.{node.module}"
            elif node.module == "qllm_helpers":
                yield from ((node, f"qllm_helpers.{alias.name}") for alias in node.names)
            else:
                yield node, node.module


def cells(path, kind="code"):
    """The non-empty cells of one kind of a notebook, with their position."""
    notebook = nbformat.read(path, as_version=4)
    chosen = [(i, c) for i, c in enumerate(notebook.cells) if c.cell_type == kind]
    return [(i, c) for i, c in chosen if c.source.strip()]


# --- the repository's address -------------------------------------------------------------


def test_every_file_names_the_same_repository():
    name = SLUG.split("/")[1]
    pattern = re.compile(rf"([\w.-]+)/{re.escape(name)}\b")
    wrong = {
        (file, match)
        for file, text in tracked_texts().items()
        for match in pattern.findall(text)
        if f"{match}/{name}" != SLUG
    }
    assert wrong == set()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == ADDRESS
    assert PYPROJECT["project"]["urls"]["Repository"] == ADDRESS
    assert citation["version"] == PYPROJECT["project"]["version"]


def test_badges_and_launch_links_point_at_files_of_this_repository():
    pattern = re.compile(r"https://colab\.research\.google\.com/github/[\w./%-]+")
    links = {
        (file, link) for file, text in tracked_texts().items() for link in pattern.findall(text)
        if not file.startswith("tests/")
    }  # fmt: skip
    assert [link for link in links if not link[1].startswith(COLAB)] == []
    missing = [link for _, link in links if not (ROOT / link.removeprefix(COLAB)).exists()]
    assert missing == []


def test_readme_has_a_badge_for_every_notebook_and_both_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert NOTEBOOKS
    absent = [p.name for p in NOTEBOOKS if f"({COLAB}notebooks/{p.name})" not in readme]
    assert absent == []
    assert "make book" in readme
    assert "make test" in readme


def test_local_links_of_the_readme_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", readme)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_example_uses_public_names():
    import qllm_helpers

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    names = [
        alias.name
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.ImportFrom) and node.module == "qllm_helpers"
        for alias in node.names
    ]
    assert names
    assert [name for name in names if not hasattr(qllm_helpers, name)] == []


# --- dependencies -------------------------------------------------------------------------


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(line):
    return canonical(re.match(r"[\w.-]+", line)[0])


def test_environment_installs_this_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    extras = ",".join(sorted(PYPROJECT["project"]["optional-dependencies"]))
    assert python == "python=" + PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert pip == ["--constraint constraints.txt", f"--editable .[{extras}]"]
    named = {d.split("=")[0] for d in environment["dependencies"] if isinstance(d, str)}
    assert named == {"python", "pip"}, "dependencies belong into pyproject.toml"


def test_pins_can_be_installed_with_every_python_3_11():
    asked = {found.name: found.metadata["Requires-Python"] for found in distributions()}
    assert len(asked) > 100
    late = [name for name, spec in asked.items() if not SpecifierSet(spec or "").contains("3.11.0")]
    assert late == []


def test_constraints_pin_every_declared_dependency_exactly():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    pinned = {requirement_name(pin): pin.split("==")[1] for pin in pins}
    project = PYPROJECT["project"]
    declared = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    assert [d for d in declared if requirement_name(d) not in pinned] == []
    exact = [d for d in declared if "==" in d]
    assert [d for d in exact if pinned[requirement_name(d)] != d.split("==")[1]] == []


# --- the library --------------------------------------------------------------------------


def test_rooms_import_one_way():
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as lint; lint()",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]


def test_importing_the_library_is_light():
    heavy = ["merlin", "perceval", "matplotlib", "altair", "sentence_transformers", "datasets"]
    code = f"import sys, qllm_helpers; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.name)
def test_modules_are_short_and_quiet(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500
    tree = ast.parse(text)
    long = {
        node.name: node.end_lineno - node.body[0].lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and body_lines(node) > 40
    }
    assert long == {}
    calls = {n.func.id for n in ast.walk(tree)
             if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}  # fmt: skip
    assert "print" not in calls or path.name == "cli.py"
    swallowed = [
        handler.lineno
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        and all(isinstance(step, ast.Pass | ast.Continue) for step in handler.body)
    ]
    assert swallowed == []
    assert "pickle" not in text


def body_lines(function):
    """Lines of a function without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function):
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def test_house_style():
    for command in (["check"], ["format", "--check"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout[-3000:] + "run `make format`"


def test_spelling():
    names = [name for name in tracked_texts() if not name.endswith(".ipynb")]
    command = [sys.executable, "-m", "codespell_lib", *names]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
    prose = [c.source for path in NOTEBOOKS for _, c in cells(path, "markdown")]
    command = [sys.executable, "-m", "codespell_lib", "-"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, input="\n".join(prose)
    )
    assert result.returncode == 0, result.stdout[-3000:]


def test_checks_before_a_commit_are_those_of_the_tests():
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    hooks = [hook for repo in yaml.safe_load(text)["repos"] for hook in repo["hooks"]]
    pins = [pin for hook in hooks for pin in hook["additional_dependencies"]]
    assert {pin.split("==")[0] for pin in pins} == {"ruff", "codespell"}
    assert [pin for pin in pins if pin not in constraints] == []
    assert all("jupyter" in h["types_or"] for h in hooks if h["entry"].startswith("ruff"))


# --- what must not be in the repository ---------------------------------------------------

SLASH = "/"
FORBIDDEN = {
    "a path of one machine": rf"(?<![\w.]){SLASH}(?:work|tmp|root|home|opt|Users){SLASH}[\w.-]+",
    "a package's download address": r"https?://\S+\.(?:whl|tgz|deb|tar\.gz)\b",
    "unfinished work": r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|NotImplemented" + r"Error)\b",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_of_one_machine_and_nothing_unfinished(what):
    pattern = re.compile(FORBIDDEN[what])
    hits = {name: pattern.search(text) for name, text in tracked_texts().items()}
    assert {name: hit[0] for name, hit in hits.items() if hit} == {}


def test_no_file_is_huge():
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    sizes = {
        n: (ROOT / n).stat().st_size for n in names.stdout.splitlines() if (ROOT / n).is_file()
    }
    # 11,855 sentences of 768 numbers in half precision are 17.4 MiB
    assert {name: size for name, size in sizes.items() if size > 18 << 20} == {}


# --- the notebooks ------------------------------------------------------------------------


def test_every_notebook_is_a_chapter_and_every_chapter_exists():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    chapters = set(re.findall(r"file: notebooks/(\S+)", toc))
    assert chapters
    assert chapters == {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_first_page_says_how_long_a_chapter_takes(path):
    first = cells(path, "markdown")[0][1].source
    minutes = re.search(r"^\*\*How long\.\*\* About (\d+) minutes to read", first, re.MULTILINE)[1]
    table = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    line = re.search(rf"^\| \[.*\]\(\.\./notebooks/{path.name}\) .*$", table, re.MULTILINE)[0]
    assert line.endswith(f"| {minutes} |")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_outputs_are_committed_and_compared(path):
    code = cells(path)
    assert len(code) >= 5
    counts = [cell.execution_count for _, cell in code]
    assert None not in counts, "nbval compares nothing where there is no execution count"
    assert counts == sorted(counts)
    kinds = [out.output_type for _, cell in code for out in cell.outputs]
    assert any(kind in ("execute_result", "stream", "display_data") for kind in kinds)
    assert "error" not in kinds
    ignored = [(i, c) for i, c in code if is_ignored(c)]
    untimed = [i for i, c in ignored if "timing" not in c.metadata.get("tags", [])]
    assert untimed == [], "only a cell tagged `timing` may ignore its output"
    assert len(ignored) <= len(code) / 4
    ending = [i for i, c in code if c.source.rstrip().endswith(";")]
    assert ending == [], "nbval sees the value behind a final `;`: give it to `_ =` instead"
    stderr = [i for i, c in code for o in c.outputs if o.get("name") == "stderr"]
    assert stderr == []


def test_one_training_loop_is_written_out_to_teach():
    loops = [(path.stem, i) for path in NOTEBOOKS for i, c in cells(path) if ".step()" in c.source]
    assert [name for name, _ in loops] == ["03_photonic_head"]


def is_ignored(cell):
    """Whether nbval would not compare the output of a cell."""
    tags = set(cell.metadata.get("tags", []))
    silent = {"nbval-ignore-output", "nbval-skip", "raises-exception", "nbval-raises-exception"}
    marker = re.search(r"^#\s*(NBVAL_\w+|PYTEST_VALIDATE_IGNORE_OUTPUT)", cell.source, re.MULTILINE)
    return bool(tags & silent) or marker is not None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_reads_like_a_chapter(path):
    code, prose = cells(path), cells(path, "markdown")
    lengths = [len(cell.source.strip().splitlines()) for _, cell in code]
    words = sum(len(cell.source.split()) for _, cell in prose)
    assert max(lengths) <= 15
    assert sorted(lengths)[len(lengths) // 2] <= 6
    assert words >= 5 * sum(lengths), f"{words} words for {sum(lengths)} lines of code"
    assert prose[0][1].source.startswith("# ")
    defined = [
        c.source for _, c in code if re.search(r"^\s*(class |def train|def fit)", c.source, re.M)
    ]
    assert defined == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_figure_has_a_caption_and_words_for_those_who_do_not_see_it(path):
    for number, cell in cells(path):
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        if kinds & {"image/svg+xml", "image/png"}:
            shown = cell.metadata.get("mystnb", {})
            assert shown.get("figure", {}).get("caption"), f"cell {number} has no caption"
            # a figure to move brings its own words
            spoken = "alt" in shown.get("image", {}) or any("vegalite" in kind for kind in kinds)
            assert spoken, f"cell {number} has no alt text"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_the_parts_of_a_chapter(path):
    prose = "\n".join(cell.source for _, cell in cells(path, "markdown"))
    for opening in ("**Question.**", "**What you need.**", "**How long.**"):
        assert opening in cells(path, "markdown")[0][1].source
    for part in (r"^## Summary", r"How this differs from the paper", r"^## Exercises"):
        assert re.search(part, prose, re.MULTILINE), f"no {part}"
    exercises = prose[prose.index("\n## Exercises") :]
    assert len(re.findall(r"^\*\*\d\. ", exercises, re.MULTILINE)) == 2
    assert exercises.count("Solution\n:class: dropdown") == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_one_switch_and_no_traces_of_a_run(path):
    notebook = nbformat.read(path, as_version=4)
    switches = [c for _, c in cells(path) if "parameters" in c.metadata.get("tags", [])]
    assert len(switches) == 1
    assert re.search(r"^PROFILE = \"quick\"", switches[0].source, re.MULTILINE)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert [c.id for c in notebook.cells if {"papermill", "execution"} & set(c.metadata)] == []
    tags = {t for c in notebook.cells for t in c.metadata.get("tags", [])}
    assert "injected-parameters" not in tags


def test_the_chapter_on_traps_names_tests_that_exist():
    chapter = (ROOT / "notebooks" / "07_where_the_gain_comes_from.ipynb").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", chapter))
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in [path.stem, *re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)]
    }
    assert len(named) >= 7
    assert named <= defined


def test_a_changed_result_is_noticed(tmp_path):
    """The comparison itself: one printed digit changed in a notebook fails under nbval."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("print(0.765)", execution_count=1)],
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
        },
    )
    output = nbformat.v4.new_output("stream", name="stdout", text="0.765\n")
    results = []
    for text in ("0.765\n", "0.766\n"):
        output.text = text
        notebook.cells[0].outputs = [output]
        file = tmp_path / "changed.ipynb"
        file.write_text(json.dumps(notebook), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env",
                   "--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg"),
                   "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(file)]  # fmt: skip
        results.append(subprocess.run(command, cwd=tmp_path, capture_output=True).returncode)
    assert results == [0, 1]
