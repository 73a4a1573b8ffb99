"""A conversion by stock torch, in the steps of TorchTitan's script `convert_to_hf`.

The model is loaded whole, its tensors get Hugging Face's names and rows, and all of it is saved
by torch's writer: in files of the rank, which it then consolidates.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch.distributed.checkpoint import filesystem, state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from dcpcpp.bench.meter import sync_file, sync_names
from dcpcpp.bench.states import HEADS, KV_HEADS, Tensors

_NAMES = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attention.wq.weight": "self_attn.q_proj.weight",
    "attention.wk.weight": "self_attn.k_proj.weight",
    "attention.wv.weight": "self_attn.v_proj.weight",
    "attention.wo.weight": "self_attn.o_proj.weight",
    "feed_forward.w1.weight": "mlp.gate_proj.weight",
    "feed_forward.w2.weight": "mlp.down_proj.weight",
    "feed_forward.w3.weight": "mlp.up_proj.weight",
    "attention_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
}
_HEADS = {"attention.wq.weight": HEADS, "attention.wk.weight": KV_HEADS}
_CONSOLIDATING_THREADS = 5  # as TorchTitan has it


def _halves_of_heads(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head: of its pairs (0, 1), (2, 3), ... all the first ones, then the others."""
    rows, columns = weight.shape
    pairs = weight.view(heads, rows // heads // 2, 2, columns)
    return pairs.transpose(1, 2).reshape(rows, columns)


def to_hugging_face(native: Tensors) -> Tensors:
    """The tensors of `states.llama_model` with Hugging Face's names and rows."""
    state: Tensors = {}
    for key, tensor in native.items():
        if key in _NAMES:
            state[_NAMES[key]] = tensor
            continue
        _, layer, name = key.split(".", 2)
        rows = _halves_of_heads(tensor, _HEADS[name]) if name in _HEADS else tensor
        state[f"model.layers.{layer}.{_LAYER_NAMES[name]}"] = rows
    return state


def convert_by_stock(source: Path, destination: Path) -> None:
    """Write the DCP checkpoint `source` as safetensors, durably."""
    warnings.simplefilter("ignore")  # of a load and a save in one process
    reader = filesystem.FileSystemReader(source)
    native = {
        key: torch.empty(stored.size, dtype=stored.properties.dtype)
        for key, stored in reader.read_metadata().state_dict_metadata.items()
        if isinstance(stored, TensorStorageMetadata)
    }
    state_dict_loader.load(native, storage_reader=reader)
    writer = HuggingFaceStorageWriter(
        str(destination),
        save_distributed=True,
        enable_consolidation=True,
        thread_count_consolidation=_CONSOLIDATING_THREADS,
    )
    state_dict_saver.save(to_hugging_face(native), storage_writer=writer)
    for file in destination.glob("*.safetensors"):
        sync_file(file)
    sync_names(destination)


__all__ = ["convert_by_stock", "to_hugging_face"]
