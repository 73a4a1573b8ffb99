"""Every dtype and every kind of tensor, to and from stock torch."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.states import bits, blank, ramp, require_equal, require_same_meaning

NAMES = [
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    "float4_e2m1fn_x2",
]


def every_dtype() -> dict[str, torch.Tensor]:
    """A tensor of each dtype, every byte of it different."""
    state = {}
    for name in NAMES:
        if name == "bool":
            state[name] = torch.arange(48) % 3 == 0
        else:
            state[name] = torch.arange(1, 97, dtype=torch.uint8).view(getattr(torch, name))
    return state


def tensor_kinds() -> dict[str, torch.Tensor]:
    """Tensors whose memory is not a plain row-major block, or that are nothing but shape."""
    base = ramp(6, 8)
    complexes = torch.view_as_complex(ramp(3, 2))
    shared = ramp(4, 4)
    return {
        "zero_dim": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "empty_inside": torch.empty(2, 0, 3),
        "transposed": ramp(4, 3).t(),
        "channels_last": ramp(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "expanded": torch.arange(3.0).expand(4, 3),
        "rows_of_a_view": base[2:4],
        "columns_of_a_view": base[:, 1:3],
        "every_second": base[::2, ::3],
        "permuted": ramp(2, 3, 4).permute(2, 0, 1),
        "conjugated": complexes.conj(),
        "negated": complexes.conj().imag,
        "parameter": torch.nn.Parameter(ramp(3, 2)),
        "frozen_parameter": torch.nn.Parameter(ramp(3, 2), requires_grad=False),
        "wants_grad": ramp(2, 2).requires_grad_(),
        "not_a_leaf": ramp(2, 2).requires_grad_() * 2,
        "tied": shared,
        "tied_too": shared,
        "aliased": shared[1:3],
        "many_dimensions": ramp(1, 2, 1, 3, 1, 2, 1, 2),
        "odd_bytes": ramp(7, dtype=torch.uint8),
    }


@pytest.mark.parametrize("make", [every_dtype, tensor_kinds])
def test_stock_loads_what_we_saved(make, tmp_path: pathlib.Path) -> None:
    state = make()
    dcpcpp.save(state, checkpoint_id=tmp_path)
    loaded = blank(state)
    stock.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded, state)


@pytest.mark.parametrize("make", [every_dtype, tensor_kinds])
def test_we_load_what_stock_saved(make, tmp_path: pathlib.Path) -> None:
    state = make()
    stock.save(state, checkpoint_id=tmp_path)
    loaded = blank(state)
    dcpcpp.load(loaded, checkpoint_id=tmp_path)
    require_equal(loaded, state)


@pytest.mark.parametrize("make", [every_dtype, tensor_kinds])
def test_metadata_means_what_stock_would_write(make, tmp_path: pathlib.Path) -> None:
    state = make()
    ours = dcpcpp.save(state, checkpoint_id=tmp_path / "ours")
    theirs = stock.save(state, checkpoint_id=tmp_path / "theirs")
    require_same_meaning(ours, theirs)
    require_same_meaning(stock.FileSystemReader(tmp_path / "ours").read_metadata(), theirs)
    require_same_meaning(dcpcpp.FileSystemReader(tmp_path / "theirs").read_metadata(), theirs)


def test_a_load_fills_the_tensors_that_are_there(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"w": ramp(4, 6), "p": ramp(3)}, checkpoint_id=tmp_path)
    backing = torch.zeros(8, 12)
    parameter = torch.nn.Parameter(torch.zeros(3))
    state = {"w": backing[::2, ::2], "p": parameter}
    dcpcpp.load(state, checkpoint_id=tmp_path)
    assert torch.equal(backing[::2, ::2], ramp(4, 6))
    assert backing.sum() == ramp(4, 6).sum(), "bytes between the strides were touched"
    assert state["p"] is parameter
    assert torch.equal(parameter, ramp(3))
    assert parameter.requires_grad


@pytest.mark.parametrize(
    "order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)], ids=["rows", "columns", "mixed"]
)
def test_a_destination_may_have_any_strides(order, tmp_path: pathlib.Path) -> None:
    saved = ramp(3, 4, 5, 2).permute(0, 2, 1, 3)
    dcpcpp.save({"w": saved}, checkpoint_id=tmp_path)
    sizes = [saved.size(dim) for dim in order]
    target = torch.full(sizes, -1.0).permute([order.index(dim) for dim in range(4)])
    assert target.shape == saved.shape
    dcpcpp.load({"w": target}, checkpoint_id=tmp_path)
    assert torch.equal(target, saved)


def test_conjugated_and_negated_destinations_get_their_values(tmp_path: pathlib.Path) -> None:
    values = torch.view_as_complex(ramp(3, 2))
    dcpcpp.save({"c": values, "n": ramp(3)}, checkpoint_id=tmp_path)
    state = {
        "c": torch.zeros(3, dtype=torch.complex64).conj(),
        "n": torch.zeros(3, dtype=torch.complex64).conj().imag,
    }
    dcpcpp.load(state, checkpoint_id=tmp_path)
    assert torch.equal(state["c"], values)
    assert torch.equal(state["n"], ramp(3))


def test_quantized_tensors_travel_both_ways(tmp_path: pathlib.Path) -> None:
    value = torch.quantize_per_tensor(ramp(2, 3), 0.5, 3, torch.qint8)
    dcpcpp.save({"q": value, "plain": ramp(2)}, checkpoint_id=tmp_path / "ours")
    stock.save({"q": value, "plain": ramp(2)}, checkpoint_id=tmp_path / "theirs")
    for name in ("ours", "theirs"):
        target = torch.quantize_per_tensor(torch.zeros(2, 3), 0.5, 3, torch.qint8)
        dcpcpp.load({"q": target}, checkpoint_id=tmp_path / name)
        assert torch.equal(target.int_repr(), value.int_repr())
    by_stock = stock.FileSystemReader(tmp_path / "ours").read_metadata()
    item = next(v for k, v in by_stock.storage_data.items() if k.fqn == "q")
    with (tmp_path / "ours" / item.relative_path).open("rb") as file:
        file.seek(item.offset)
        (tmp_path / "q.pt").write_bytes(file.read(item.length))
    assert torch.equal(torch.load(tmp_path / "q.pt").dequantize(), value.dequantize())


class Named(torch.Tensor):
    """A subclass that adds nothing to the bytes."""


def test_a_plain_subclass_is_stored_as_what_it_holds(tmp_path: pathlib.Path) -> None:
    state = {"w": ramp(3, 4).as_subclass(Named), "b": torch.nn.Buffer(ramp(2))}
    dcpcpp.save(state, checkpoint_id=tmp_path)
    loaded = {"w": torch.zeros(3, 4), "b": torch.zeros(2)}
    stock.load(loaded, checkpoint_id=tmp_path)
    assert torch.equal(loaded["w"], ramp(3, 4))
    target = torch.zeros(3, 4).as_subclass(Named)
    dcpcpp.load({"w": target}, checkpoint_id=tmp_path)
    assert bits(target.as_subclass(torch.Tensor)) == bits(ramp(3, 4))


def test_meta_sparse_and_packed_tensors_are_refused_by_name(tmp_path: pathlib.Path) -> None:
    packed = torch.quantize_per_channel(
        ramp(2, 2), torch.ones(2), torch.zeros(2), 0, torch.quint4x2
    )
    for value, text in (
        (torch.empty(2, device="meta"), r"meta tensor.*weight"),
        (ramp(2, 2).to_sparse(), r"sparse.*weight"),
        (packed, r"quint4x2.*weight"),
    ):
        with pytest.raises(dcpcpp.CheckpointException) as caught:
            dcpcpp.save({"weight": value}, checkpoint_id=tmp_path)
        error = caught.value.failures[0][0]
        assert isinstance(error, NotImplementedError)
        assert caught.match(text)
    assert not (tmp_path / ".metadata").exists()


def test_saving_leaves_the_state_alone(tmp_path: pathlib.Path) -> None:
    state = tensor_kinds()
    before = {
        key: (bits(value), value.stride(), value.requires_grad) for key, value in state.items()
    }
    dcpcpp.save(state, checkpoint_id=tmp_path)
    after = {
        key: (bits(value), value.stride(), value.requires_grad) for key, value in state.items()
    }
    assert after == before


def test_a_tensor_larger_than_every_buffer_is_whole(tmp_path: pathlib.Path) -> None:
    generator = torch.Generator().manual_seed(1)
    big = torch.randint(0, 1 << 30, (6, 1 << 20), generator=generator, dtype=torch.int64)
    state = {"big": big, "transposed": big[:, :4096].t(), "last": ramp(5)}
    writer = dcpcpp.FileSystemWriter(tmp_path, max_buffer_bytes=8 << 20)
    dcpcpp.save(state, storage_writer=writer)
    for loader in (stock.load, dcpcpp.load):
        loaded = blank(state)
        loader(loaded, checkpoint_id=tmp_path)
        require_equal(loaded, state)


class MakesItsState:
    """A Stateful whose tensors live no longer than what state_dict() returned."""

    def state_dict(self) -> dict[str, Any]:
        return {str(number): torch.full((number,), float(number)) for number in (3, 1000, 300_000)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loaded = state


def test_tensors_that_only_a_state_dict_holds_are_saved(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"made": MakesItsState()}, checkpoint_id=tmp_path)
    for name, value in MakesItsState().state_dict().items():
        state = {f"made.{name}": torch.zeros_like(value)}
        dcpcpp.load(state, checkpoint_id=tmp_path)
        assert torch.equal(state[f"made.{name}"], value)
