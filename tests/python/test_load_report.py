"""What a load says of missing, unexpected and converted tensors."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.ranks import run_on_ranks
from support.states import ramp, require_equal


def test_a_missing_key_is_an_error_that_names_it(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"a": ramp(2)}, checkpoint_id=tmp_path)
    target = {"a": torch.zeros(2), "b": {"c": torch.zeros(1)}}
    pattern = r"Missing key in checkpoint state_dict: b\.c\."
    with pytest.raises(dcpcpp.CheckpointException, match=pattern) as caught:
        dcpcpp.load(target, checkpoint_id=tmp_path)
    assert isinstance(caught.value.failures[0][0], RuntimeError)
    assert torch.equal(target["a"], torch.zeros(2)), "nothing is loaded when the plan fails"


def test_a_report_that_nobody_would_fill_is_refused(tmp_path: pathlib.Path) -> None:
    class Planner(stock.DefaultLoadPlanner):
        pass

    dcpcpp.save({"a": ramp(2)}, checkpoint_id=tmp_path)
    with pytest.raises(ValueError, match="report need dcpcpp's own planner and storage"):
        dcpcpp.load(
            {"a": ramp(2)}, checkpoint_id=tmp_path, planner=Planner(), report=dcpcpp.LoadReport()
        )


def test_a_report_has_the_keys_of_the_state_dict(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"net": {"w": ramp(2).double()}}, checkpoint_id=tmp_path)
    state = {"model": {"w": torch.zeros(2), "b": torch.zeros(2)}}
    report = dcpcpp.LoadReport()
    planner = stock.DefaultLoadPlanner(allow_partial_load=True)
    with pytest.warns(UserWarning, match="lose precision .* model.w"):
        dcpcpp.load(
            state, checkpoint_id=tmp_path, rename={"model": "net"}, planner=planner, report=report
        )
    assert report.missing == ["model.b"]
    assert list(report.cast) == ["model.w"]
    assert torch.equal(state["model"]["w"], ramp(2))


def test_autograd_learns_that_a_load_wrote(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"a": ramp(4)}, checkpoint_id=tmp_path)
    weight = torch.ones(4, requires_grad=True)
    loss = (weight * weight).sum()
    dcpcpp.load({"a": weight}, checkpoint_id=tmp_path)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_partial_load_leaves_alone_what_is_missing_and_reports_it(
    tmp_path: pathlib.Path,
) -> None:
    dcpcpp.save({"a": ramp(2), "extra": 1, "more": {"x": ramp(1)}}, checkpoint_id=tmp_path)
    report = dcpcpp.LoadReport(missing=["from an earlier load"])
    target = {"a": torch.zeros(2), "b": {"c": torch.ones(1)}, "step": 5}
    planner = stock.DefaultLoadPlanner(allow_partial_load=True)
    dcpcpp.load(target, checkpoint_id=tmp_path, planner=planner, report=report)
    require_equal(target, {"a": ramp(2), "b": {"c": torch.ones(1)}, "step": 5})
    assert report.missing == ["b.c", "step"]
    assert report.unexpected == ["extra", "more.x"]
    assert report.cast == {}
    assert report.nbytes_read > 0


def test_another_shape_is_an_error_in_torchs_words(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"w": ramp(2, 3)}, checkpoint_id=tmp_path)
    for target in (torch.zeros(3, 2), torch.zeros(6), torch.zeros(2, 3, 1)):
        with pytest.raises(
            dcpcpp.CheckpointException, match=r"Size mismatch between saved torch\.Size\(\[2, 3\]\)"
        ) as caught:
            dcpcpp.load({"w": target}, checkpoint_id=tmp_path)
        assert isinstance(caught.value.failures[0][0], ValueError)


def test_a_tensor_does_not_go_where_an_object_is(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"w": ramp(2)}, checkpoint_id=tmp_path)
    with pytest.raises(dcpcpp.CheckpointException, match="Invalid checkpoint metadata for w"):
        dcpcpp.load({"w": 3}, checkpoint_id=tmp_path)


PAIRS = [
    (torch.float32, torch.float64, False),
    (torch.float32, torch.bfloat16, True),
    (torch.float64, torch.float32, True),
    (torch.bfloat16, torch.float32, False),
    (torch.float16, torch.bfloat16, True),
    (torch.int32, torch.int64, False),
    (torch.int64, torch.float32, True),
    (torch.float32, torch.int32, True),
    (torch.uint8, torch.bool, True),
    (torch.float32, torch.complex64, False),
    (torch.bool, torch.float32, False),
]


@pytest.mark.parametrize(("stored", "loaded", "lossy"), PAIRS, ids=str)
def test_other_dtypes_are_cast_as_torch_casts_and_reported(
    stored: torch.dtype, loaded: torch.dtype, lossy: bool, tmp_path: pathlib.Path
) -> None:
    values = (torch.tensor([0.0, 1.5, 2.25, 100.0, 77.1, 3.0]) * 3).to(stored).reshape(2, 3)
    stock.save({"w": values, "same": ramp(2)}, checkpoint_id=tmp_path)
    target = {"w": torch.zeros(2, 3, dtype=loaded), "same": torch.zeros(2)}
    report = dcpcpp.LoadReport()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dcpcpp.load(target, checkpoint_id=tmp_path, report=report)
    require_equal(target["w"], values.to(loaded))
    assert report.cast == {"w": (str(stored), str(loaded))}
    told = [str(w.message) for w in caught if "lose precision" in str(w.message)]
    assert len(told) == (1 if lossy else 0)


def test_lossy_casts_are_told_once_for_all(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"a": ramp(2), "b": ramp(2), "c": ramp(2)}, checkpoint_id=tmp_path)
    target = {key: torch.zeros(2, dtype=torch.bfloat16) for key in "abc"}
    pattern = r"3 tensor\(s\) lose precision.*e\.g\. a: stored as torch\.float32"
    with pytest.warns(UserWarning, match=pattern) as caught:
        dcpcpp.load(target, checkpoint_id=tmp_path)
    assert len([w for w in caught if "lose precision" in str(w.message)]) == 1


def reports_of_shards(path: str) -> tuple[list[str], list[str], dict[str, tuple[str, str]]]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    half = torch.zeros(5, 3, dtype=torch.bfloat16)
    target = {"w": distribute_tensor(half, mesh, [Shard(0)], src_data_rank=None)}
    report = dcpcpp.LoadReport()
    dcpcpp.load(target, checkpoint_id=path, report=report)
    assert torch.equal(target["w"].full_tensor(), ramp(5, 3).bfloat16())
    return report.missing, report.unexpected, report.cast


def test_every_rank_reports(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"w": ramp(5, 3), "extra": 1}, checkpoint_id=tmp_path)
    for missing, unexpected, cast in run_on_ranks(2, reports_of_shards, str(tmp_path)):
        assert missing == []
        assert unexpected == ["extra"]
        assert cast == {"w": ("torch.float32", "torch.bfloat16")}


def bytes_of_a_half(path: str, verify: bool) -> int:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    target = {"w": distribute_tensor(torch.zeros(512, 4096), mesh, [Shard(0)], src_data_rank=None)}
    report = dcpcpp.LoadReport()
    reader = dcpcpp.FileSystemReader(path, verify=verify)
    dcpcpp.load(target, storage_reader=reader, report=report)
    assert torch.equal(target["w"].full_tensor(), ramp(512, 4096))
    return report.nbytes_read


@pytest.mark.parametrize(
    ("saver", "verify", "most"),
    # Blocks that are checked are read whole: one more than there are, at either end. An item
    # of torch's is found through its zip directory.
    [(dcpcpp, True, 6 << 20), (dcpcpp, False, 5 << 20), (stock, False, 5 << 20)],
    ids=["ours", "ours unchecked", "torch's unchecked"],
)
def test_a_rank_reads_its_part_of_a_chunk_only(
    tmp_path: pathlib.Path, saver: Any, verify: bool, most: int
) -> None:
    """Stock torch reads the whole chunk of 8 MiB on either rank."""
    saver.save({"w": ramp(512, 4096)}, checkpoint_id=tmp_path)
    for nbytes in run_on_ranks(2, bytes_of_a_half, str(tmp_path), verify):
        assert 4 << 20 <= nbytes <= most
