"""Text of pages that comes from the library: its public names, with their docstrings.

Each piece is a substitution: a page says ``{{ public_names }}`` where it belongs.
"""

import inspect

import qllm_helpers


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


def add_substitutions(app, config):
    """Give the pages what the library says now."""
    config.myst_substitutions = {
        **config.myst_substitutions,
        "public_names": describe_public_names(),
    }


def skip_inherited(app, what, name, value, skip, options):
    """Leave out what scikit-learn adds to every estimator for its metadata routing."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("autodoc-skip-member", skip_inherited)
    app.connect("config-inited", add_substitutions)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
