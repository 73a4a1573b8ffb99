"""The states that are saved and loaded."""

from __future__ import annotations

import torch

Tensors = dict[str, torch.Tensor]

# One layer of a Llama-like model: (name, rows, columns), in units of the width.
_LAYER = (
    ("attention.wq.weight", 1.0, 1.0),
    ("attention.wk.weight", 0.25, 1.0),
    ("attention.wv.weight", 0.25, 1.0),
    ("attention.wo.weight", 1.0, 1.0),
    ("feed_forward.w1.weight", 2.75, 1.0),
    ("feed_forward.w2.weight", 1.0, 2.75),
    ("feed_forward.w3.weight", 2.75, 1.0),
)


# The model of a state that is large enough; a smaller state has a narrower one.
_WIDTH = 2048


def llama_like(nbytes: int) -> Tensors:
    """Parameters and AdamW moments of a Llama-like model, at least `nbytes` in float32."""
    torch.manual_seed(0)
    width = _WIDTH
    while width > 64 and 3 * 4 * sum(r * c for _, r, c in _LAYER) * width**2 > nbytes:
        width //= 2
    state: Tensors = {}
    total = 0
    layer = 0
    while total < nbytes:
        shapes: list[tuple[str, tuple[int, ...]]] = [
            (name, (int(r * width), int(c * width))) for name, r, c in _LAYER
        ]
        shapes.append(("attention_norm.weight", (width,)))
        for name, shape in shapes:
            key = f"layers.{layer}.{name}"
            for prefix in ("model", "optim.exp_avg", "optim.exp_avg_sq"):
                tensor = torch.randn(shape)
                state[f"{prefix}.{key}"] = tensor
                total += tensor.nbytes
        layer += 1
    return state


def small_tensors(count: int, nbytes: int = 4096) -> Tensors:
    """`count` float32 tensors of `nbytes` each."""
    torch.manual_seed(0)
    values = torch.randn(count, nbytes // 4)
    return {f"model.layer.{i // 100}.tensor.{i}": values[i].clone() for i in range(count)}


def many_tensors(count: int, nbytes: int) -> Tensors:
    """`count` float32 tensors of `nbytes` in all."""
    torch.manual_seed(0)
    numel = max(1, nbytes // 4 // count)
    return {f"model.layer.{i // 10}.tensor.{i}": torch.randn(numel) for i in range(count)}


def nbytes_of(state: Tensors) -> int:
    """Bytes of all tensors."""
    return sum(tensor.nbytes for tensor in state.values())


def empty_like(state: Tensors) -> Tensors:
    """Destinations for a load; every page is touched."""
    return {key: torch.zeros_like(tensor).fill_(-1) for key, tensor in state.items()}


def require_equal(loaded: Tensors, saved: Tensors) -> None:
    """Raise AssertionError if a tensor differs."""
    for key, tensor in saved.items():
        if not torch.equal(loaded[key], tensor):
            raise AssertionError(f"{key} was not loaded as it was saved")
