"""The page of `dcpcpp report`: one file that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import json
import re
from typing import Any


def render(data: dict[str, Any]) -> str:
    """Make the page that shows `data`, which `report_data` has put together.

    What comes from the checkpoint cannot become a script: it stands in a block of JSON in which
    no tag can begin or end, the script only makes text of it, and the page's policy has the
    browser run nothing but that script, by its hash, and load nothing at all.
    """
    template = _resource("report.html")
    script = _resource("report_charts.js") + _resource("report.js")
    style = template.partition("<style>")[2].partition("</style>")[0]
    # The browser's text of the element has the line breaks around it.
    script_hash = _hash(f"\n{script}\n")
    policy = f"default-src 'none'; script-src {script_hash}; style-src {_hash(style)}"
    parts = {
        "policy": policy,
        "title": _ascii(html.escape(f"dcpcpp report: {data['info']['path']}")),
        "data": _json_for_html(data),
        "script": script,
    }
    # In one pass: a name in the data may look like a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _resource(name: str) -> str:
    return importlib.resources.files("dcpcpp").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _json_for_html(data: dict[str, Any]) -> str:
    """JSON that can stand in a script element: without <, > and &, all in ASCII."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _ascii(text: str) -> str:
    """`text` for HTML; a path may have bytes that are no text at all."""
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")
