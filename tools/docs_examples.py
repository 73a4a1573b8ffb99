"""An extension of griffe (see mkdocs.yml): an "Example:" in a docstring is shown as code."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Reads "Example:" as "Examples:", which griffe knows: its lines after >>> are code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the heading in the docstring of `obj`."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
