"""The built pages in a browser: from disk, without a network, on a phone and on a desk.

``make book`` builds them. Without them, or without Chromium, these tests are skipped, unless
``QLLM_REQUIRE_BROWSER`` is set.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
WIDTHS = (390, 768, 1440)
THEMES = ("light", "dark")
OFFLINE = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOCAL = ("file", "data", "blob")
# Messages of the theme itself, which do no harm.
HARMLESS = ("THEBE_JS_URL", "reading 'classList'", "Got invalid theme mode")

RAW_TEX = r"""() => {
  const copy = document.querySelector('article').cloneNode(true);
  copy.querySelectorAll('pre, code, script, style, mjx-container').forEach(e => e.remove());
  return (copy.textContent.match(/\$\$|\\\(|\\\[|\\begin\{|\\frac|\\mathrm/g) || []);
}"""
UNRENDERED = """() => [...document.querySelectorAll('article .math')]
  .filter(e => !e.querySelector('mjx-container') || e.querySelector('mjx-merror'))
  .map(e => e.textContent.slice(0, 80))"""
TOO_WIDE = """() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth + 1) return [];
  const wide = [...document.querySelectorAll('article *')]
    .filter(e => e.getBoundingClientRect().right > root.clientWidth + 1);
  return [`${root.scrollWidth} of ${root.clientWidth}`,
    ...wide.slice(0, 5).map(e => e.outerHTML.slice(0, 120))];
}"""
BAD_IMAGES = """async () => {
  const bad = [];
  for (const image of document.images) {
    image.loading = 'eager';
    await image.decode().catch(() => 0);
    const inArticle = image.closest('article') !== null;
    if (!image.naturalWidth) bad.push(`does not load: ${image.src}`);
    if (inArticle && !image.alt.trim()) bad.push(`no alt text: ${image.src}`);
  }
  return bad;
}"""

# The checker looks at every element: rows, entries and words of code that repeat tell it nothing
# new, and colours that are still fading from one theme to the other would mislead it.
THIN_OUT = """() => {
  document.head.append(Object.assign(document.createElement('style'),
    {textContent: '* { transition: none !important }'}));
  const repeats = ['article tbody tr:nth-child(n+4)', 'article dl.py ~ dl.py ~ dl.py'];
  document.querySelectorAll(repeats).forEach(element => element.remove());
  const seen = new Set();
  document.querySelectorAll('article .highlight span[class]').forEach(word =>
    seen.has(word.className) ? word.replaceWith(...word.childNodes) : seen.add(word.className));
}"""
# Style sheets are not fetched once more: a page on disk may not.
CHECK = """axe.run({exclude: ['mjx-container']},
  {resultTypes: ['violations'], preload: false, selectors: false})"""
# The theme waits this long, ms, before it makes boxes that now scroll reachable by the keyboard.
SETTLED = 400
READY = "() => Promise.all([window.MathJax?.startup?.promise, document.fonts.ready])"


def require(condition, reason):
    """Skip for the reason, or fail for it where a browser is demanded."""
    if not condition:
        (pytest.fail if os.environ.get("QLLM_REQUIRE_BROWSER") else pytest.skip)(reason)


def toc_entries(node):
    """Yield every page name of a table of contents."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("root", "file") if key in node)
        for key in ("parts", "chapters", "sections"):
            yield from toc_entries(node.get(key))
    elif isinstance(node, list):
        for part in node:
            yield from toc_entries(part)


PAGES = list(toc_entries(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def site():
    require((HTML / "index.html").exists(), "the site is not built: run `make book` first")
    return HTML


@pytest.fixture(scope="module")
def chromium(site):
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    require(program, "Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(OFFLINE))
        yield browser
        browser.close()


class Tab:
    """One browser tab that stays open, with what the page in it asks for and complains about."""

    def __init__(self, chromium, **options):
        self.context = chromium.new_context(offline=True, **options)
        self.page, self.complaints, self.requests = self.context.new_page(), [], []
        self.page.on("console", lambda m: m.type == "error" and self.complaints.append(m.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda r: self.complaints.append(f"failed: {r.url}"))
        self.page.on("request", lambda r: self.requests.append(r.url))

    def visit(self, url):
        """Load a page and wait until its formulas and fonts are there."""
        self.complaints.clear()
        self.requests.clear()
        self.page.goto(url, wait_until="load")
        self.page.evaluate(READY)
        return self.page

    def look(self, width, theme):
        """Show the page at this width to a reader who prefers this theme."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=theme)
        self.page.wait_for_function("t => document.documentElement.dataset.theme === t", arg=theme)

    def serious(self):
        """Complaints that are not on the list of harmless ones; requests to elsewhere."""
        loud = [c for c in self.complaints if not any(known in c for known in HARMLESS)]
        return loud + [u for u in self.requests if urlsplit(u).scheme not in LOCAL]


@pytest.fixture(scope="module")
def tab(chromium):
    opened = Tab(chromium)
    yield opened
    opened.context.close()


@pytest.fixture(scope="module")
def axe():
    """The accessibility checker, a script to evaluate in a page."""
    from axe_playwright_python.sync_playwright import Axe

    return Axe().axe_script


def inaccessible(page):
    """What the checker finds, as (rule, first elements, what to do) of every broken rule."""
    found = page.evaluate(CHECK)
    return [
        (rule["id"], node["html"][:200], node["failureSummary"][:200])
        for rule in found["violations"]
        for node in rule["nodes"][:3]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_page_is_sound_in_a_browser(site, tab, axe, name):
    page = tab.visit((site / f"{name}.html").as_uri())
    assert page.locator("article h1").count() == 1
    for check in (RAW_TEX, UNRENDERED, BAD_IMAGES):
        assert page.evaluate(check) == []
    for theme in THEMES:
        for width in WIDTHS:
            tab.look(width, theme)
            assert page.evaluate(TOO_WIDE) == [], f"scrolls sideways: {theme}, {width} px"
    assert tab.serious() == []
    page.evaluate(THIN_OUT)
    page.evaluate(axe)
    for width, theme in zip(WIDTHS[::2], THEMES, strict=True):
        tab.look(width, theme)
        page.wait_for_timeout(SETTLED)
        assert inaccessible(page) == [], f"not accessible: {theme}, {width} px"


def test_search_finds_photon(site, tab):
    page = tab.visit((site / "search.html").as_uri() + "?q=photon")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").all_inner_texts()
    assert any("Glossary" in text or "photon" in text.lower() for text in found)
    assert tab.serious() == []


def test_explorer_answers_to_pointer_and_keyboard(site, tab):
    page = tab.visit((site / "book/results.html").as_uri())
    tab.look(WIDTHS[0], THEMES[0])
    first, second = (page.locator(".qllm-set-0 .qllm-circuit").nth(n) for n in (0, 1))
    numbers = first.locator(".qllm-told").first
    assert not numbers.is_visible()
    first.focus()
    assert numbers.is_visible()
    assert numbers.text_content() in first.get_attribute("aria-label")
    page.keyboard.press("Tab")
    assert second.locator(".qllm-told").first.is_visible()
    first.locator("rect").first.hover()
    assert numbers.is_visible() and not second.locator(".qllm-told").first.is_visible()
    other = page.get_by_role("radio", name="few-shot, tuned body")
    other.check()
    # A radio button is named after the class of the set that it shows.
    assert page.locator(f".{other.get_attribute('id')}").is_visible()
    assert not page.locator(".qllm-set-0").is_visible()
    assert tab.serious() == []


# Pages with figures that move, and the sliders of each figure.
MOVING = {
    "03_photonic_head": [
        ["angle θ (degrees)"],
        ["enters mode", "layers passed"],
        ["photons", "phase (degrees)"],
    ],
    "04_published_table": [["draw another seed"]],
    "07_where_the_gain_comes_from": [["heads tried, k", "draw again"]],
}


@pytest.mark.parametrize("name", MOVING)
def test_figures_move_with_keyboard_and_touch(site, chromium, name):
    tab = Tab(chromium, has_touch=True)
    page = tab.visit((site / "notebooks" / f"{name}.html").as_uri())
    tab.look(WIDTHS[0], THEMES[1])
    for n, sliders in enumerate(MOVING[name]):
        figure = page.locator(".qllm-moving").nth(n)
        figure.locator("svg").wait_for()
        assert figure.locator("img").count() == 0
        assert figure.locator(".vega-embed").get_attribute("aria-label")
        for slider in sliders:
            move_slider(page, figure, figure.get_by_role("slider", name=slider))
    assert page.locator(".qllm-moving").count() == len(MOVING[name])
    assert tab.serious() == []
    tab.context.close()


def settled(page, drawing, before):
    """What is drawn once it differs from `before` and stays as it is; after a while anyway."""
    for _ in range(40):
        first = drawing.inner_html()
        page.wait_for_timeout(SETTLED)
        if first not in before and first == drawing.inner_html():
            break
    return drawing.inner_html()


def move_slider(page, figure, slider):
    """Move it by keys and by a finger; the drawing must follow each time."""
    drawings, values = [], []
    slider.focus()
    for move in ("Home", "ArrowRight", "finger"):
        if move == "finger":
            place = slider.bounding_box()
            at = {"x": 0.9 * place["width"], "y": place["height"] / 2}
            slider.tap(position=at)
        else:
            page.keyboard.press(move)
        drawings.append(settled(page, figure.locator("svg"), drawings[-1:]))
        values.append(float(slider.input_value()))
    assert values == sorted(values)
    assert len(set(values)) == len(set(drawings)) == 3, values


@pytest.mark.parametrize("name", MOVING)
def test_figure_that_cannot_move_is_a_picture(site, chromium, name):
    context = chromium.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "notebooks" / f"{name}.html").as_uri())
    pictures = page.locator(".qllm-moving img").all()
    assert len(pictures) == len(MOVING[name])
    for picture in pictures:
        assert picture.is_visible()
        assert len(picture.get_attribute("alt")) > 50
    context.close()


def test_first_page_leads_to_the_introduction(site, chromium):
    # Not by open_page: it asks the page questions, and this page leaves while it is asked.
    page = chromium.new_page()
    try:
        page.goto((site / "index.html").as_uri(), wait_until="commit")
        page.wait_for_url(f"**/{PAGES[0]}.html")
    finally:
        page.close()


def read_links(path):
    """Return the addresses on a page and the anchors that it offers."""
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    links = [a["href"] for a in soup.find_all("a", href=True)]
    return links, {tag["id"] for tag in soup.find_all(id=True)}


def local_targets(path, links):
    """Yield (file, anchor) of the links that stay on the site."""
    for link in links:
        if urlsplit(link).scheme or link.startswith(("//", "#!")):
            continue
        address, anchor = urldefrag(urljoin(path.as_uri(), link))
        yield Path(unquote(urlsplit(address).path)), unquote(anchor)


def test_internal_links_and_anchors_resolve(site):
    anchors, broken, checked = {}, [], 0
    for name in PAGES:
        path = site / f"{name}.html"
        links, anchors[path] = read_links(path)
        for target, anchor in local_targets(path, links):
            checked += 1
            if target.suffix == ".html" and target.exists() and target not in anchors:
                anchors[target] = read_links(target)[1]
            known = anchors.get(target, set())
            if not target.exists() or (anchor and known and anchor not in known):
                broken.append(f"{name}: {target.name}#{anchor}")
    assert broken == []
    assert checked > len(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_page_can_be_edited_and_explains_its_words(site, name):
    text = (site / f"{name}.html").read_text(encoding="utf-8")
    soup = BeautifulSoup(text, "html.parser")
    links = [a["href"] for a in soup.find_all("a", href=True)]
    assert any(f"/edit/main/{name}" in link for link in links)
    terms = [a.get_text().lower() for a in soup.select("article a:has(> .std-term)")]
    assert terms or not name.startswith("notebooks/")


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("notebooks/")])
def test_chapter_ends_with_what_to_take_away(site, name):
    soup = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    ending = soup.find(id="take-this-chapter-with-you")
    files = [a["href"] for a in ending.select("a.download")]
    source = (ROOT / f"{name}.ipynb").read_text(encoding="utf-8")
    assert files[0].endswith(f"{Path(name).name}.ipynb")
    assert "study_rows(" not in source or len(files) > 1
    assert f"@incollection{{qllmbook:{Path(name).name}" in ending.get_text()


def test_every_page_is_reachable_from_the_first(site):
    start = site / f"{PAGES[0]}.html"
    seen, todo = {start}, [start]
    while todo:
        path = todo.pop()
        for target, _ in local_targets(path, read_links(path)[0]):
            if target.suffix == ".html" and target.exists() and target not in seen:
                seen.add(target)
                todo.append(target)
    assert {site / f"{name}.html" for name in PAGES} <= seen


def test_pages_show_this_build_of_the_notebooks(site):
    """A page whose executed copy is missing would silently show the committed outputs."""
    notebooks = [Path(name).name for name in PAGES if name.startswith("notebooks/")]
    executed = ROOT / "_build" / "executed"
    assert notebooks
    assert [n for n in notebooks if not (executed / f"{n}.ipynb").exists()] == []


def test_pages_are_printed_into_one_file(site, chromium, tmp_path):
    from pypdf import PdfReader

    pages = [("", "book/intro"), ("Tools", "notebooks/01_embeddings"), ("Yours", "book/heads")]
    code = f"import pdf; pdf.main({str(tmp_path / 'book.pdf')!r}, {pages})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "book", check=True, timeout=300)
    reader = PdfReader(tmp_path / "book.pdf")
    outline = [one.title for one in reader.outline if not isinstance(one, list)]
    assert outline[1:] == ["Tools", "Yours"]
    words = " ".join(page.extract_text() for page in reader.pages).split()
    assert "From sentences to vectors" in " ".join(words)
