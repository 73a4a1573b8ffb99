"""A small Llama of one layer, as TorchTitan and as Hugging Face name its tensors."""

from __future__ import annotations

import pathlib
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import dcpcpp
from support.states import ramp

HEADS, KV_HEADS, DIM = 32, 8, 64
CONFIG = {"num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS}
FLAVOR = {"model": "llama3", "model_flavor": "8B"}
LAYER, QKV = "layers.0.", "layers.0.attention.qkv_linear."


def native() -> dict[str, torch.Tensor]:
    return {
        "tok_embeddings.weight": ramp(41, DIM),
        QKV + "wq.weight": ramp(HEADS * 4, DIM, start=1),
        QKV + "wk.weight": ramp(KV_HEADS * 4, DIM, start=2),
        QKV + "wv.weight": ramp(KV_HEADS * 4, DIM, start=3),
        LAYER + "attention.wo.weight": ramp(DIM, HEADS * 4, start=4),
        LAYER + "feed_forward.w1.weight": ramp(96, DIM, start=5),
        LAYER + "ffn_norm.weight": ramp(DIM, start=6),
        "norm.weight": ramp(DIM, start=7),
        "lm_head.weight": ramp(41, DIM, start=8),
    }


def permuted(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """TorchTitan's `_permute`."""
    count, width = rows.shape
    return (
        rows.view(heads, count // heads // 2, 2, width)
        .transpose(1, 2)
        .reshape(count, width)
        .contiguous()
    )


def hugging_face() -> dict[str, torch.Tensor]:
    state, layer = native(), "model.layers.0."
    return {
        "model.embed_tokens.weight": state["tok_embeddings.weight"],
        layer + "self_attn.q_proj.weight": permuted(state[QKV + "wq.weight"], HEADS),
        layer + "self_attn.k_proj.weight": permuted(state[QKV + "wk.weight"], KV_HEADS),
        layer + "self_attn.v_proj.weight": state[QKV + "wv.weight"],
        layer + "self_attn.o_proj.weight": state[LAYER + "attention.wo.weight"],
        layer + "mlp.gate_proj.weight": state[LAYER + "feed_forward.w1.weight"],
        layer + "post_attention_layernorm.weight": state[LAYER + "ffn_norm.weight"],
        "model.norm.weight": state["norm.weight"],
        "lm_head.weight": state["lm_head.weight"],
    }


def shard(whole: dict[str, torch.Tensor], layout: str) -> dict[str, Any]:
    """By rows; or as tensor parallelism does, some by columns; or not at all."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))

    def placement(key: str, value: torch.Tensor) -> Any:
        if layout == "same" or (layout == "tp" and value.dim() == 1):
            return Replicate()
        by_columns = layout == "tp" and key.endswith(("wo.weight", "w2.weight"))
        return Shard(1 if by_columns else 0)

    return {
        key: distribute_tensor(value, mesh, [placement(key, value)]) for key, value in whole.items()
    }


def save_as_hugging_face(folder: pathlib.Path, layout: str, options: dict[str, Any]) -> None:
    """Save `native()`, on the ranks of `layout`, by our mapping."""
    writer = dcpcpp.HuggingFaceStorageWriter(folder, **options)
    dcpcpp.save(shard(native(), layout), storage_writer=writer)
