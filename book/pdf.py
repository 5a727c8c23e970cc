"""Print the built pages with Chromium, one after the other, into one PDF with an outline."""

import shutil
import sys

import yaml
from execute import ROOT
from playwright.sync_api import sync_playwright
from pypdf import PdfWriter
from render import BUILD

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
MARGIN = {side: "18mm" for side in ("top", "right", "bottom", "left")}


def documents():
    """Every page of the table of contents in its order, the front page first: part, name."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    parts = [(part["caption"], part["chapters"]) for part in contents["parts"]]
    chapters = [(caption, page["file"]) for caption, pages in parts for page in pages]
    return [("", contents["root"]), *chapters]


def print_pages(names, folder):
    """Yield the title of each page and the PDF that Chromium prints of it into `folder`."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        sys.exit(f"no browser to print with: install one of {', '.join(PROGRAMS)}")
    with sync_playwright() as playwright:
        options = {"executable_path": program, "args": ["--no-sandbox", "--disable-gpu"]}
        browser = playwright.chromium.launch(**options)
        page = browser.new_context(offline=True, color_scheme="light").new_page()
        page.set_default_timeout(120_000)
        for number, name in enumerate(names):
            page.goto((BUILD / "html" / f"{name}.html").as_uri(), wait_until="load")
            page.wait_for_function("!window.MathJax || MathJax.startup?.promise?.then(() => true)")
            printed = folder / f"{number:02d}.pdf"
            page.pdf(path=printed, format="A4", margin=MARGIN)
            yield page.title().partition(" — ")[0], printed


def main(target=BUILD / "book.pdf", pages=None):
    """Print `pages` (all of the book, in order) into `target`."""
    pages = documents() if pages is None else pages
    absent = [name for _, name in pages if not (BUILD / "html" / f"{name}.html").exists()]
    if absent:
        sys.exit(f"not built: {', '.join(absent)}; run `make book` first")
    folder, book, parts = BUILD / "pdf", PdfWriter(), {"": None}
    folder.mkdir(exist_ok=True)
    printed = print_pages([name for _, name in pages], folder)
    for (part, _), (title, path) in zip(pages, printed, strict=True):
        start = len(book.pages)
        book.append(path, import_outline=False)
        if part not in parts:
            parts[part] = book.add_outline_item(part, start)
        book.add_outline_item(title, start, parent=parts[part])
    book.add_metadata({"/Title": "Fine-tuning a language model with photons"})
    book.write(target)
    print(f"wrote {target}: {len(book.pages)} pages")


if __name__ == "__main__":
    main()
