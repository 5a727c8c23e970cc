"""Let the charts of the notebooks move: their script is served from the book itself.

A chart's picture stays on the page until the chart is drawn, and for good without JavaScript.
"""

import html
import json
from pathlib import Path

import vl_convert

from qllm_helpers.figures.moving import MIME

DRAW = """
for (const box of document.querySelectorAll(".qllm-moving")) {
  const spec = JSON.parse(box.querySelector("script").textContent);
  const options = {mode: "vega-lite", renderer: "svg", actions: false};
  vegaEmbed(box.querySelector("div"), spec, options).then(() => box.querySelector("img").remove());
}
"""
BOX = """<div class="qllm-moving"><script type="application/json">{spec}</script><div></div>
<img src="data:image/png;base64,{picture}" alt="{alt}"></div>"""
SCRIPT = '<script defer src="../_static/moving.js"></script>'


def write_box(data):
    """Return the HTML of a chart: what to draw, where, and its picture."""
    spec = data.pop(MIME)
    picture = "".join(data.pop("image/png")).replace("\n", "")
    alt = html.escape(spec["description"])
    return BOX.format(spec=json.dumps(spec).replace("</", "<\\/"), picture=picture, alt=alt)


def put_boxes(app, docname, source):
    """Give every chart of a notebook that Sphinx has just read its HTML."""
    if not docname.startswith("notebooks/") or MIME not in source[0]:
        return
    notebook = json.loads(source[0])
    shown = [out["data"] for cell in notebook["cells"] for out in cell.get("outputs", [])
             if MIME in out.get("data", {})]  # fmt: skip
    for data in shown:
        data["text/html"] = write_box(data)
    shown[-1]["text/html"] += SCRIPT
    source[0] = json.dumps(notebook)


def write_script(app, exception):
    """Write Vega-Lite and the lines that draw, once the pages are there."""
    if exception is None and app.builder.format == "html":
        # the bundle's names stay inside of a function: other scripts have short names as well
        script = f"(() => {{{vl_convert.javascript_bundle(DRAW)}}})();"
        Path(app.outdir, "_static", "moving.js").write_text(script, encoding="utf-8")


def setup(app):
    """Register the extension with Sphinx; after the executed copy is there, which is sooner."""
    app.connect("source-read", put_boxes, priority=800)
    app.connect("build-finished", write_script)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
