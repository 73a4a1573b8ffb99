"""Writes into the pages of docs/ what the commands in their ```console blocks print.

    python tools/cli_transcripts.py

Commands begin with "$ dcpcpp"; they run in a folder of small checkpoints, one for each page.
"$ echo $?" tells the exit code of the one before. Times and ids are
written as "…", the folder as /runs/llm.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Iterator
from unittest import mock

import torch

import dcpcpp
from dcpcpp import cli

DOCS = pathlib.Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
UNSTEADY = (
    (re.compile(r"in \d+\.\d+ s \(\d+\.\d+ GB/s\)"), "in … s (… GB/s)"),
    (re.compile(r"\b[\d,]+\.\d+ ms\b"), "… ms"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "…"),
)


def make_checkpoints(folder: pathlib.Path) -> None:
    """Two steps of a run, one of them with what a killed save left, and a damaged copy."""
    for step in (100, 200):
        state = {"model": _model(), "optim": {"exp_avg": torch.zeros(64, 64)}, "step": step}
        state["model"]["head"][0, :3] += step / 1000
        dcpcpp.save(state, checkpoint_id=folder / "ckpt" / f"step-{step}")
    (folder / "ckpt" / "step-100" / "__0_7.distcp").write_bytes(bytes(5000))
    damaged = folder / "ckpt" / "damaged"
    large = {**_model(), "embed": torch.ones(1024, 1024)}  # as a checksum is of a MiB
    dcpcpp.save({"model": large}, checkpoint_id=damaged)
    with (damaged / "__0_0.distcp").open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"\xff\xff")


def _model() -> dict[str, torch.Tensor]:
    layers = {f"layers.{i}.weight": torch.arange(4096.0).view(64, 64) / 4096 for i in range(2)}
    return {
        "embed": torch.arange(8192.0).view(128, 64) / 8192,
        **layers,
        "norm": torch.ones(64, dtype=torch.bfloat16),
        "head": torch.arange(-4096.0, 4096).view(128, 64) / 4096,
    }


def fill_page(text: str) -> str:
    """`text` with the output of its commands as it is today. Runs in the working directory."""
    return BLOCK.sub(lambda block: "".join(_transcript(block[0])), text)


def _transcript(block: str) -> Iterator[str]:
    code = 0
    for line in block.splitlines():
        if not line.startswith("$ "):
            continue
        yield f"{line}\n"
        if line == "$ echo $?":
            yield f"{code}\n"
            continue
        program, *arguments = shlex.split(line.removeprefix("$ "))
        if program != "dcpcpp":
            raise ValueError(f"{line!r} is no command of dcpcpp")
        code, said = _run(arguments)
        said = said.replace(str(pathlib.Path.cwd()), "/runs/llm")
        for pattern, replacement in UNSTEADY:
            said = pattern.sub(replacement, said)
        yield said


def _run(arguments: list[str]) -> tuple[int, str]:
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        mock.patch.object(sys, "argv", ["dcpcpp", *arguments]),
    ):
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0), said.getvalue()
    return 0, said.getvalue()


def filled_pages() -> Iterator[tuple[pathlib.Path, str]]:
    """Each page with such blocks, and what it should be."""
    before = pathlib.Path.cwd()
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        if not BLOCK.search(text):
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                make_checkpoints(pathlib.Path())  # which have the same names in each run
                yield page, fill_page(text)
            finally:
                os.chdir(before)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="torch.distributed is")  # one process saves
    for page, text in filled_pages():
        page.write_text(text)
