"""Text as libdcp takes it: Unicode, with no half of a surrogate pair; and what is a URL."""

from __future__ import annotations

import os
from typing import TypeGuard


def is_unicode(text: str) -> bool:
    """Whether `text` has a form in UTF-8, which what `os.fsdecode` gives may lack."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_url(path: object) -> TypeGuard[str]:
    """Whether `path` is a URL, for fsspec or a plug-in, and no path of this machine."""
    return isinstance(path, str) and "://" in path


def path_text(path: str | os.PathLike[str]) -> str:
    """`path` for libdcp.

    Raises:
        ValueError: a name in it is no Unicode text, which Linux allows; or it holds a
            null byte, which nothing does.
    """
    text = os.fspath(path)
    if isinstance(text, str) and "\0" in text:
        raise ValueError(f"embedded null byte in the path {text!r}")
    if isinstance(text, str) and not is_unicode(text):
        raise ValueError(f"the path {text!r} is not Unicode text")
    return text
