"""A run's last save, of the model alone, as torchtune's own checkpointers load it.

torchtune brings many packages: `make test-torchtune` has an environment for it, and
`make test-deep` runs it.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import torch

import dcpcpp
from dcpcpp import CheckpointConfig, CheckpointManager
from support import llama
from support.ranks import run_on_ranks
from support.states import require_equal

pytest.importorskip(
    "torchtune", reason="torchtune is not installed: `make test-torchtune` installs it"
)

from torchtune.models import convert_weights
from torchtune.models.llama3 import llama3
from torchtune.training import DistributedCheckpointer, FullModelHFCheckpointer

SHAPE = {"num_heads": 4, "num_kv_heads": 2}
CONFIG = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64}


class Adapter:
    """torchtune's names of a Llama, and Hugging Face's."""

    fqn_to_index_mapping = None

    def to_hf(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        return convert_weights.tune_to_hf(state_dict, **SHAPE, dim=CONFIG["hidden_size"])

    def from_hf(self, hf_state_dict: dict[str, Any]) -> dict[str, Any]:
        return convert_weights.hf_to_tune(hf_state_dict, **SHAPE, dim=CONFIG["hidden_size"])


def tiny(seed: int) -> Any:
    """A Llama of torchtune's with random weights."""
    torch.manual_seed(seed)
    return llama3(
        vocab_size=503, num_layers=2, embed_dim=64, max_seq_len=32, intermediate_dim=112, **SHAPE
    ).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.arange(30).reshape(2, 15))
    return logits


def last_save(folder: pathlib.Path, model: Any, **options: Any) -> pathlib.Path:
    """The last save of a run of `model`, which holds the model alone."""
    config = CheckpointConfig(enable=True, folder=str(folder), **options)
    with CheckpointManager(config, {"model": model}, sd_adapter=Adapter()) as manager:
        assert manager.save(7, last_step=True)
    return folder / "step-7"


def load_hugging_face(folder: pathlib.Path, config: dict[str, int]) -> dict[str, torch.Tensor]:
    """The model of `folder`, under torchtune's names."""
    (folder / "config.json").write_text(json.dumps(config))
    checkpointer = FullModelHFCheckpointer(
        checkpoint_dir=str(folder),
        checkpoint_files=[path.name for path in folder.glob("*.safetensors")],
        model_type="LLAMA3",
        output_dir=str(folder.parent / "tuned"),
    )
    state: dict[str, torch.Tensor] = checkpointer.load_checkpoint()["model"]
    return state


def test_torchtune_loads_a_last_save_in_pytorchs_format(tmp_path: pathlib.Path) -> None:
    model = tiny(1)
    step = last_save(tmp_path / "run", model)
    other = tiny(2)
    assert not torch.equal(logits(other), logits(model))
    checkpointer = DistributedCheckpointer(checkpoint_dir=str(step), output_dir=str(tmp_path))
    loaded = checkpointer.load_checkpoint(other.state_dict(), checkpoint_path=str(step))
    other.load_state_dict(loaded)
    assert torch.equal(logits(other), logits(model))


def test_torchtune_loads_a_last_save_in_safetensors(tmp_path: pathlib.Path) -> None:
    model = tiny(1)
    step = last_save(tmp_path / "run", model, last_save_in_hf=True)
    other = tiny(2)
    other.load_state_dict(load_hugging_face(step, CONFIG))
    assert torch.equal(logits(other), logits(model))


def test_torchtune_knows_what_our_mapping_has_made(tmp_path: pathlib.Path) -> None:
    # Of TorchTitan's names, on the shards of 2 ranks: torchtune has the same order of rows.
    folder = tmp_path / "hf"
    run_on_ranks(
        2, llama.save_as_hugging_face, folder, "fsdp", {**llama.FLAVOR, "max_shard_size": "40KB"}
    )
    config = {**llama.CONFIG, "hidden_size": llama.DIM, "head_dim": 4}
    loaded = load_hugging_face(folder, config)
    native = llama.native()
    names = {
        "layers.0.attn.q_proj.weight": llama.QKV + "wq.weight",
        "layers.0.attn.k_proj.weight": llama.QKV + "wk.weight",
        "layers.0.attn.v_proj.weight": llama.QKV + "wv.weight",
        "layers.0.attn.output_proj.weight": llama.LAYER + "attention.wo.weight",
        "output.weight": "lm_head.weight",
        "norm.scale": "norm.weight",
    }
    for ours, theirs in names.items():
        require_equal({ours: loaded[ours]}, {ours: native[theirs]})


def test_dcpcpp_goes_on_from_what_torchtune_saved(tmp_path: pathlib.Path) -> None:
    model = tiny(1)
    tuned = DistributedCheckpointer(checkpoint_dir=str(tmp_path), output_dir=str(tmp_path))
    tuned.save_checkpoint(model.state_dict(), epoch=0)
    other = tiny(2)
    state = other.state_dict()
    dcpcpp.load(state, checkpoint_id=tmp_path / "dist_epoch_0")
    other.load_state_dict(state)
    assert torch.equal(logits(other), logits(model))
