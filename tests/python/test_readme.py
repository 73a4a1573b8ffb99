"""The Python code of the README, and of each page of docs/, runs, from the top to the bottom."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"

BEFORE = """
import torch

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(2000, 8)
        self.lora_a = torch.nn.Linear(8, 2)

model = Model()
optim = optimizer = torch.optim.AdamW(model.parameters())
for parameter in model.parameters():
    parameter.grad = torch.ones_like(parameter)
optim.step()
saved = model.embed.weight.detach().clone()
state = {"model": model.state_dict(), "optim": optim.state_dict()}
weights = {"embed.weight": torch.zeros(2000, 8)}
path = "readme"

import os
import safetensors.torch
os.makedirs("models/llama")
safetensors.torch.save_file(dict(model.state_dict()), "models/llama/model.safetensors")
"""

AFTER = """
assert torch.equal(weights["embed.weight"], saved.to(torch.bfloat16).float())
assert not report.missing and report.nbytes_read > 0, report
assert checkpoint.keys() == ["model.embed.weight"], checkpoint.keys()
assert list(state) == ["model"], list(state)
assert torch.distributed.checkpoint.save is dcp.save
assert handle.upload_completion.done()
assert dcp.latest("ckpt").name == "step-100"
assert dcp.latest("ckpt/run").name == "step-300"
"""

RUN_PAGES = """
import os, runpy, sys
for folder in sys.argv[1:]:
    os.chdir(folder)
    runpy.run_path("page.py")
"""


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def run_python(cwd: Path, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_code_of_the_readme_runs(tmp_path: Path) -> None:
    blocks = python_blocks(README)
    assert len(blocks) >= 3
    program = "\n".join([BEFORE, *blocks, AFTER])
    program = program.replace("/ckpt/", "ckpt/").replace("/models/", "models/")
    assert "I/O engine" in run_python(tmp_path, program)


def test_the_python_code_of_the_docs_runs(tmp_path: Path) -> None:
    """In one process for all pages, because most of the time is torch's import."""
    folders = []
    for page in sorted(DOCS.glob("*.md")):
        if blocks := python_blocks(page):
            folder = tmp_path / page.stem
            folder.mkdir()
            program = "\n".join([BEFORE, *blocks])
            program = re.sub(r'"/(ckpt|models)/', rf'"{folder}/\1/', program)
            (folder / "page.py").write_text(program)
            folders.append(str(folder))
    assert len(folders) >= 6
    run_python(tmp_path, RUN_PAGES, *folders)
