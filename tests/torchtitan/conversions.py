"""TorchTitan's own adapters beside `dcpcpp.convert`: the same tensors, bit by bit, both ways.

    python tests/torchtitan/conversions.py WORK

Of each family a flavor of TorchTitan's, cut to a few layers, with random weights.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import on_cpu  # first: it makes torch look as if it had a device
import torch
from safetensors.torch import load_file

import dcpcpp

LAYERS, ROWS = 2, 64
CASES = [
    ("llama3", "debugmodel"),
    ("llama3", "1B"),
    ("qwen3", "debugmodel"),
    ("qwen3", "debugmodel_moe"),
    ("deepseek_v3", "debugmodel"),
]
# Of which only the first ROWS rows are taken.
LARGE = ("tok_embeddings.weight", "lm_head.weight")

State = dict[str, torch.Tensor]


def _spec_of(model: str, flavor: str) -> Any:
    spec = importlib.import_module(f"torchtitan.models.{model}").model_registry(flavor)
    spec.model.layers = spec.model.layers[:LAYERS]
    return spec


def _random_state(spec: Any) -> State:
    with torch.device("meta"):
        shapes = {k: (v.shape, v.dtype) for k, v in spec.model.build().state_dict().items()}
    return {
        key: torch.randn(ROWS if key in LARGE else shape[0], *shape[1:]).to(dtype)
        for key, (shape, dtype) in shapes.items()
    }


def _require_equal(what: str, actual: State, expected: State) -> None:
    if set(actual) != set(expected):
        raise SystemExit(f"{what}: keys differ: {sorted(set(actual) ^ set(expected))}")
    for key, tensor in expected.items():
        if not torch.equal(actual[key], tensor):
            raise SystemExit(f"{what}: {key} differs")


def _compare(model: str, flavor: str, work: Path) -> str:
    shutil.rmtree(work, ignore_errors=True)
    spec = _spec_of(model, flavor)
    adapter = spec.state_dict_adapter(spec.model, None)
    state = _random_state(spec)
    dcpcpp.save(state, checkpoint_id=work / "native", no_dist=True)
    options: dict[str, Any] = {"model": model, "model_flavor": flavor}
    dcpcpp.convert(work / "native", work / "hf", **options)
    expected = adapter.to_hf(dict(state))
    made = {k: v for f in (work / "hf").glob("*.safetensors") for k, v in load_file(f).items()}
    _require_equal(f"{model} {flavor} to HF", made, expected)
    dcpcpp.convert(work / "hf", work / "back", reverse=True, **options)
    back = dcpcpp.load_full(work / "back")
    _require_equal(f"{model} {flavor} from HF", back, adapter.from_hf(dict(expected)))
    shutil.rmtree(work)
    return f"{model} {flavor}: {len(state)} tensors converted as TorchTitan does, and back"


def main() -> None:
    """Compare all, and print a line for each."""
    on_cpu.adapt_torchtitan()
    torch.manual_seed(1)
    for model, flavor in CASES:
        print(_compare(model, flavor, Path(sys.argv[1])), flush=True)


if __name__ == "__main__":
    main()
