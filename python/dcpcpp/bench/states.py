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


_VOCABULARY = 4  # in units of the width
# As in TorchTitan's Llama 3 of 8B, whatever the width.
HEADS, KV_HEADS = 32, 8


def _width_for(nbytes: int) -> int:
    """Of a model that has a whole layer in `nbytes` of float32, if there is one."""
    width = _WIDTH
    while width > 64 and 4 * sum(r * c for _, r, c in _LAYER) * width**2 > nbytes:
        width //= 2
    return width


def _layer_shapes(width: int, layer: int) -> list[tuple[str, tuple[int, ...]]]:
    return [
        *(
            (f"layers.{layer}.{name}", (int(rows * width), int(columns * width)))
            for name, rows, columns in _LAYER
        ),
        (f"layers.{layer}.attention_norm.weight", (width,)),
    ]


def llama_like(nbytes: int) -> Tensors:
    """Parameters and AdamW moments of a Llama-like model, at least `nbytes` in float32."""
    torch.manual_seed(0)
    width = _width_for(nbytes // 3)
    state: Tensors = {}
    total = 0
    layer = 0
    while total < nbytes:
        for key, shape in _layer_shapes(width, layer):
            for prefix in ("model", "optim.exp_avg", "optim.exp_avg_sq"):
                tensor = torch.randn(shape)
                state[f"{prefix}.{key}"] = tensor
                total += tensor.nbytes
        layer += 1
    return state


def llama_model(nbytes: int) -> Tensors:
    """Parameters of a Llama-like model as TorchTitan 0.2 names them, at least `nbytes` in float32.

    It has HEADS heads of queries and KV_HEADS of keys.
    """
    torch.manual_seed(0)
    width = _width_for(nbytes)
    state: Tensors = {
        "tok_embeddings.weight": torch.randn(_VOCABULARY * width, width),
        "norm.weight": torch.randn(width),
        "output.weight": torch.randn(_VOCABULARY * width, width),
    }
    layer = 0
    while nbytes_of(state) < nbytes:
        shapes = _layer_shapes(width, layer)
        shapes.append((f"layers.{layer}.ffn_norm.weight", (width,)))
        state.update({key: torch.randn(shape) for key, shape in shapes})
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
