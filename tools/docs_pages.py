"""A hook of mkdocs (see mkdocs.yml): pages that lie beside the code, and links to files.

The pages in docs/ are read in the repository, too, so their links are those of the files that
they lie in. On the site a link to another page of the site leads there; of one to any other file
only its text is left.
"""

from __future__ import annotations

import pathlib
import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = pathlib.Path(__file__).parents[1]
DOCS = "docs/"
# Pages of the site that lie elsewhere, by their place in the repository and on the site.
BESIDE_THE_CODE = (
    "benchmarks/README.md",
    "benchmarks/gpu/README.md",
    "benchmarks/reliability.md",
    "examples/cpp/README.md",
    "examples/torchtitan/README.md",
    "src/README.md",
    "src/checkpoint/COMMIT.md",
    "src/format/FORMAT.md",
)
LINK = re.compile(r"!?\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie beside the code."""
    for place in BESIDE_THE_CODE:
        path = str(REPOSITORY / place)
        files.append(File.generated(config, place, abs_src_path=path))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    here = page.file.src_uri
    place = here if here in BESIDE_THE_CODE else DOCS + here

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target:
            return match[0]
        found = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        uri = found.removeprefix(DOCS)
        if files.get_file_from_path(uri) is None:
            return text
        return f"[{text}]({posixpath.relpath(uri, posixpath.dirname(here))}{anchor})"

    return LINK.sub(link, markdown)
