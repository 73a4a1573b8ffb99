"""`dcpcpp simulate plan`."""

from __future__ import annotations

import pytest

from dcpcpp import _core
from support.command_line import command, json_of

SMALL = ("simulate", "plan", "--model", "llama3-70b", "--ranks", "8")


@pytest.mark.parametrize("mode", ["closed-form", "gather"])
def test_a_plan_is_reported_as_json(mode: str) -> None:
    report = json_of(*SMALL, "--mesh", "tp=2,pp=2", "--mode", mode)
    assert report["mesh"] == {"pp": 2, "dp_replicate": 1, "dp": 2, "tp": 2, "ep": 1}
    assert (report["model"], report["mode"]) == ("llama3-70b", mode)
    assert (report["ranks"], report["ranks_planned"], report["states"]) == (8, 8, 2)
    assert (report["tensors"], report["elements"]) == (723, 70_553_706_496)
    assert report["items"] == 4 * 2892  # half of the ranks have each key
    for who in ("rank_seconds", "coordinator_seconds"):
        assert report[who]
        assert all(seconds >= 0 for seconds in report[who].values())
    outcome = report["outcome"]
    assert outcome["mean_load_nbytes"] == report["nbytes"] // 8
    assert outcome["max_load_nbytes"] >= outcome["mean_load_nbytes"]
    assert outcome["metadata_nbytes"] > 50 * outcome["items"]
    assert outcome["metadata_ranks"] == 8
    first, unchanged = report["first_save"], report["unchanged_save"]
    if mode == "closed-form":
        assert unchanged == {"messages": 14, "nbytes": 7 * 58}
        assert first["messages"] == 42
    else:
        assert unchanged == first
        assert first["messages"] == 14


def test_a_plan_is_told_in_words() -> None:
    lines = command(*SMALL, "--mesh", "tp=2,pp=2").stdout.splitlines()
    assert lines[0] == "model    llama3-70b, 723 tensors, 70,553,706,496 elements"
    assert lines[1] == "mesh     8 ranks: pp=2, dp=2, tp=2"
    assert lines[2] == "state    847 GB with AdamW's, 11,568 items held, 2 different states"
    assert lines[3] == "planned  in closed form"
    assert lines[5].startswith("first save       42 messages, ")
    assert lines[6] == "unchanged save   14 messages, 406 B"
    assert any("ms: who writes what" in line for line in lines)


def test_a_sample_is_said_to_be_one() -> None:
    sampled = (*SMALL[:-1], "64", "--max-items", str(20 * 2892))
    words = command(*sampled).stdout
    assert "in closed form, from 13 ranks that stand for all" in words
    assert json_of(*sampled)["ranks_planned"] == 13
    gathered = command(*sampled, "--mode", "gather").stdout
    assert "what is written: not known of a sample of gathered plans" in gathered
    assert json_of(*sampled, "--mode", "gather")["outcome"] is None


@pytest.mark.parametrize("model", _core.simulated_models())
def test_every_model_that_help_names_is_planned(model: str) -> None:
    assert model in command("simulate", "plan", "--help").stdout
    report = json_of("simulate", "plan", "--model", model, "--ranks", "4")
    assert report["ranks"] == 4
    assert report["nbytes"] > 11 * report["elements"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--mesh", "dp=3"), "--mesh dp=3 is one of 3 ranks, not 8"),
        (("--mesh", "tp=16"), "--mesh tp=16 is one of 16 ranks, not 8"),
        (("--mesh", "cp=2"), "not 'cp=2'"),
        (("--mesh", "tp=2,tp=2"), "not 'tp=2'"),
        (("--mesh", "tp=0"), "not 'tp=0'"),
        (("--mesh", "ep=2"), "ep=2 does not divide the model's 0 experts"),
        (("--mode", "guess"), "there is no planning mode guess"),
        (("--model", "gpt-2"), 'no model "gpt-2"; there are llama3-70b'),
    ],
)
def test_a_job_that_cannot_be_is_an_error_that_says_why(options: tuple[str, ...], why: str) -> None:
    done = command(*SMALL, *options)
    assert done.exit_code == 2
    assert why in done.output
