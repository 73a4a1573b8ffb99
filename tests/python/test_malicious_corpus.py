"""R21: checkpoints that would run code when Python's pickle reads them run none here."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from support import faults
from support.forbidden import FORBID
from support.malicious import Attack, corpus
from support.planting import KEYS, Planter, make_template
from support.scoreboard import SUBJECTS, Subject, report

# Reads each of argv[3:] in every way there is; a line for each tells whether something
# was run, and whether the load was refused. Python itself reports what is run: audit
# hooks cannot be taken away; and in our turn the kernel ends who starts a program.
READ = (
    FORBID
    + """
import contextlib, json, os, shutil, sys, warnings
warnings.simplefilter("ignore")
import torch
import torch.distributed.checkpoint as stock
import dcpcpp
torch.set_num_threads(1)
subject, canary, *directories = sys.argv[1:]
seen = []

def hook(event, args):
    starts_programs = event.startswith(("os.exec", "os.spawn", "os.posix_spawn", "os.fork"))
    if event in seen:
        return
    if starts_programs or event in ("os.system", "subprocess.Popen") or canary in repr(args):
        seen.append(event)

def load(directory):
    module = dcpcpp if subject == "dcpcpp" else stock
    module.load({"w": torch.zeros(2, 3), "step": 0}, checkpoint_id=directory)

def look(directory):
    checkpoint = dcpcpp.open(directory)
    for key in checkpoint.keys():
        with contextlib.suppress(Exception):
            checkpoint.get(key)

lines = sys.stdout
sys.stdout = sys.stderr  # attacks print, too
sys.addaudithook(hook)
if subject == "dcpcpp":  # also by what Python does not see
    for number in EXEC:
        forbid(number, KILL)
for directory in directories:
    refused = False
    try:
        load(directory)
    except BaseException:
        refused = True
    if subject == "dcpcpp":
        for other in (dcpcpp.verify, look, dcpcpp.load_full):
            with contextlib.suppress(Exception):
                other(directory)
        with contextlib.suppress(Exception):
            dcpcpp.FileSystemReader(directory).read_metadata()
    executed = seen + ["canary"] * os.path.lexists(canary)
    seen.clear()
    if os.path.isdir(canary) and not os.path.islink(canary):
        shutil.rmtree(canary)
    elif os.path.lexists(canary):
        os.remove(canary)
    seen.clear()
    print(json.dumps([directory, executed, refused]), file=lines, flush=True)
"""
)


def plant(attacks: list[Attack], template: Path, directory: Path) -> dict[str, Attack]:
    planter = Planter(template, directory)
    planted = {}
    for attack in attacks:
        if attack.place == "metadata":
            path = planter.file(".metadata", attack.content)
        else:
            path = planter.item(KEYS[attack.place], attack.content)
        planted[str(path)] = attack
    return planted


@pytest.mark.row("R21")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, subject: Subject) -> None:
    canary = tmp_path / "canary"
    template = make_template(tmp_path / "template")
    good = faults.read_metadata(template)
    faults.write_metadata(tmp_path, good)
    attacks = list(corpus(canary, (tmp_path / ".metadata").read_bytes()))
    planted = plant(attacks, template, tmp_path / "planted")
    done = faults.run_python(READ, subject, canary, *planted, timeout=900)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    executed = {planted[path].name: events for path, events, _ in results if events}
    loaded = [planted[path] for path, _, refused in results if not refused]
    report(
        "R21",
        "attacks by pickles in metadata, objects and tensors",
        subject=subject,
        count=len(attacks),
        bad=len(executed),
        seed=0,
        note=f"{len(results) - len(loaded):,} refused, {len(loaded):,} loaded and nothing run"
        if not executed
        else f"{len(executed):,} ran code",
    )
    assert len(attacks) >= 200
    if subject == "stock":
        return
    assert len(results) == len(attacks), done.stderr[-2000:]
    assert executed == {}
    assert [attack.name for attack in loaded if attack.must_be_refused] == []


def test_starting_a_program_ends_the_process_that_reads() -> None:
    attempt = 'forbid(EXEC[0], KILL)\nos.execv("/bin/true", ["true"])\n'
    assert faults.run_python(FORBID + attempt).returncode == -signal.SIGSYS


@pytest.mark.row("R21")
def test_the_attacks_are_real(tmp_path: Path) -> None:
    """CPython's unpickler is caught by most of those on metadata: the trap works."""
    canary = tmp_path / "canary"
    template = make_template(tmp_path / "template")
    faults.write_metadata(tmp_path, faults.read_metadata(template))
    good = (tmp_path / ".metadata").read_bytes()
    attacks = [attack for attack in corpus(canary, good) if "alone" in attack.name]
    planted = plant(attacks, template, tmp_path / "planted")
    done = faults.run_python(READ, "stock", canary, *planted, timeout=300)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    executed = [planted[path].name for path, events, _ in results if "canary" in events]
    assert len(executed) > 25, done.stderr[-2000:]
