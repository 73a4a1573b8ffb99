"""`dcpcpp bench --plan`, with too few ranks to say anything of speed."""

from __future__ import annotations

import json
import math
import pathlib
import pickle

import pytest
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner

from dcpcpp import _core
from dcpcpp.bench import bars, plan_programs, plan_stock
from support.command_line import command

ARE_BUILT = (plan_programs.DEFAULT_FOLDER / "dcp_plan_bench").exists()


@pytest.mark.timeout(300)
@pytest.mark.skipif(not ARE_BUILT, reason="the C++ benchmarks are not built: make build")
def test_planning_is_measured_beside_stock(tmp_path: pathlib.Path) -> None:
    report = tmp_path / "plan.json"
    done = command("bench", "--plan", "--plan-ranks", "32", "--repeats", "2", "--json", report)
    assert done.exit_code == 0, done.output
    written = json.loads(report.read_text())
    assert written["parameters"] == {"plan_ranks": 32, "repeats": 2}
    outcomes = {outcome["measure"]: outcome for outcome in written["outcomes"]}
    assert list(outcomes)[:7] == [
        "gather mode, 2 ranks: the coordinator",
        "gather mode, 2 ranks: memory, all messages included",
        "gather mode, 2 ranks: stock DCP",
        "gather mode, 2 ranks: stock DCP's memory",
        "gather mode, 2 ranks: stock DCP over dcpcpp",
        "gather mode, 32 ranks: the coordinator",
        "gather mode, 32 ranks: memory, all messages included",
    ]
    assert [name.partition(", ")[2] for name in list(outcomes)[7:10]] == [
        "512 ranks, FSDP, flat: a rank",
        "512 ranks, HSDP over TP: a rank",
        "512 ranks, FSDP over TP, in stages: a rank",
    ]
    assert len(outcomes) == 13
    for name, outcome in outcomes.items():
        is_stocks = name.endswith(("stock DCP", "stock DCP's memory"))
        assert len(outcome["values"]) == (1 if is_stocks else 2), name
        assert all(0 <= value < math.inf for value in outcome["values"]), name
        assert outcome["bar"] is None  # it is for 8,192 ranks
    memory = outcomes["gather mode, 2 ranks: memory, all messages included"]
    assert 0 < max(memory["values"]) < 0.05  # GB, of the program and not of this process
    assert "closed form, 512 ranks" in done.output


def test_bars_are_judged_by_the_median() -> None:
    fast = bars.Measured("seconds", "s", [1.0, 1.5, 9.0], bar=2.0)
    slow = bars.Measured("rate", "MB/s", [100.0, 150.0, 900.0], bar=200.0, is_floor=True)
    assert (fast.median, fast.holds) == (1.5, True)
    assert (slow.median, slow.holds) == (150.0, False)
    assert bars.Measured("seconds", "s", [1.0]).holds is None


def test_figures_are_read_as_programs_print_them() -> None:
    sections = plan_programs.parse(
        "columns: 4 ranks of 2892 items, messages of 0.5 MB, memory 7 MiB\n"
        "coordinator: reads the messages                  0.500 s        20 MB/s\n"
        "memory so far, peak                                1490 MiB\n"
        "items: 4 ranks of 2892 items, messages of 0.6 MB, memory 9 MiB\n"
        "memory so far, peak                                2000 MiB\n"
        "index: finding a tensor's chunks, each            120.5 ns\n"
        "FSDP over TP, in stages, 1024 ranks\n"
        "  a rank: its share                      0.031 ms, 180 items\n"
    )
    columns = sections["columns"]
    assert columns["coordinator: reads the messages"].value == 0.5
    assert columns["coordinator: reads the messages"].rate == 20
    assert columns["memory so far, peak"].value == 1490
    assert sections["items"]["memory so far, peak"].value == 2000
    assert sections["items"]["index: finding a tensor's chunks, each"].unit == "ns"
    assert sections["FSDP over TP, in stages"]["a rank: its share"].value == 0.031


def test_stocks_plans_are_those_of_its_planner_for_every_rank() -> None:
    tensors = _core.simulated_tensors("llama3-70b")
    plans = [plan_stock.local_plan(tensors, rank, 3) for rank in range(3)]
    assert {len(plan.items) for plan in plans} == {2892}
    plans = [pickle.loads(pickle.dumps(plan)) for plan in plans]
    shares, metadata = DefaultSavePlanner().create_global_plan(plans)  # which validates it
    assert sum(len(share.items) for share in shares) == 3 * 3 * 723 + 723
    assert len(metadata.state_dict_metadata) == 2892


def test_programs_that_are_not_there_are_an_error_that_says_where_they_are_from(
    tmp_path: pathlib.Path,
) -> None:
    done = command("bench", "--plan", "--programs", tmp_path)
    assert done.exit_code == 2
    assert "make build" in done.output
    assert "--programs" in done.output


@pytest.mark.parametrize("ranks", ["0", "8", "100"])
def test_ranks_that_have_no_sixteenth_are_a_usage_error(ranks: str) -> None:
    done = command("bench", "--plan", "--plan-ranks", ranks)
    assert done.exit_code == 2
    assert "multiple of 16" in done.output
