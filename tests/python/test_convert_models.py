"""Conversions between TorchTitan's tensors and Hugging Face's, by function and command line."""

from __future__ import annotations

import json
import pathlib

import pytest
import torch
from safetensors.torch import load_file, save_file

import dcpcpp
from dcpcpp import convert_from_hf, convert_to_hf
from support.command_line import command
from support.llama import CONFIG, hugging_face, native
from support.states import ramp, require_equal


def require_same(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    require_equal(dict(sorted(actual.items())), dict(sorted(expected.items())))


@pytest.fixture
def assets(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "assets"
    directory.mkdir()
    files = {name: 1 if "model." in name else 2 for name in hugging_face()}
    index = {
        "metadata": {},
        "weight_map": {
            name: f"model-0000{number}-of-00002.safetensors"
            for name, number in {**files, "model.gone.weight": 1}.items()
        },
    }
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    (directory / "model-00001-of-00002.safetensors").write_bytes(b"not looked at")
    return directory


@pytest.fixture
def trained(tmp_path: pathlib.Path) -> pathlib.Path:
    state = {**native(), "optimizer": {"lr": 0.5, "exp_avg": ramp(3)}, "train_state": {"step": 1}}
    dcpcpp.save(state, checkpoint_id=tmp_path / "dcp")
    return tmp_path / "dcp"


def test_the_command_converts_a_model_there_and_back(
    trained: pathlib.Path, assets: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    options = ["--model", "llama3", "--hf-assets-path", str(assets)]
    done = command("convert", trained, tmp_path / "hf", *options)
    assert done.exit_code == 0, done.output
    one, two = (load_file(file) for file in sorted((tmp_path / "hf").glob("*.safetensors")))
    assert set(two) == {"lm_head.weight"}
    require_same({**one, **two}, hugging_face())
    assert json.loads((tmp_path / "hf" / "config.json").read_text()) == CONFIG
    assert (tmp_path / "hf" / "tokenizer.json").read_text() == "{}"
    written = json.loads((tmp_path / "hf" / "model.safetensors.index.json").read_text())
    assert set(written["weight_map"]) == set(hugging_face())
    # Numbers come from the source's own config.json.
    back = ("convert", tmp_path / "hf", tmp_path / "back", "--model", "llama3")
    done = command(*back, "--reverse")
    assert done.exit_code == 0, done.output
    require_same(dcpcpp.load_full(tmp_path / "back"), native())


def test_torchtitans_scripts_convert(
    trained: pathlib.Path,
    assets: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nobody asks for TorchTitan's default.
    (tmp_path / "cwd" / "assets" / "hf").mkdir(parents=True)
    assets.rename(tmp_path / "cwd" / "assets" / "hf" / "Llama-3.1-8B")
    monkeypatch.chdir(tmp_path / "cwd")
    to_hf = [str(trained), str(tmp_path / "hf"), "--model_name", "llama3"]
    convert_to_hf.main([*to_hf, "--model_flavor", "8B", "--export_dtype", "bfloat16"])
    made = load_file(tmp_path / "hf" / "model.safetensors")
    require_same(made, {name: tensor.bfloat16() for name, tensor in hugging_face().items()})
    assert not (tmp_path / "hf" / "tokenizer.json").exists()
    (tmp_path / "model").mkdir()
    save_file(hugging_face(), tmp_path / "model" / "model.safetensors")
    convert_from_hf.main([str(tmp_path / "model"), str(tmp_path / "back")])
    require_same(dcpcpp.load_full(tmp_path / "back"), native())
    (tmp_path / "model" / "config.json").write_text(json.dumps({"num_attention_heads": 64}))
    with pytest.raises(SystemExit) as ended:
        convert_from_hf.main([str(tmp_path / "model"), str(tmp_path / "more")])
    assert ended.value.code == 1
    assert "64 as num_attention_heads" in capsys.readouterr().err


def test_files_of_flux_have_the_names_of_diffusers(
    assets: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    stem = "diffusion_pytorch_model"
    state = {"img_in.weight": ramp(4, 2), "img_in.bias": ramp(4), "txt_in.bias": ramp(3)}
    names = ("x_embedder.weight", "x_embedder.bias", "context_embedder.bias")
    dcpcpp.save(state, checkpoint_id=tmp_path / "dcp")
    writer = dcpcpp.HuggingFaceStorageWriter(tmp_path / "hf", model="flux")
    dcpcpp.save(state, storage_writer=writer)
    assert [path.name for path in (tmp_path / "hf").glob("[!.]*")] == [f"{stem}.safetensors"]
    with pytest.warns(UserWarning, match="Detected an existing checkpoint"):
        dcpcpp.save(state, storage_writer=writer)
    (assets / "model.safetensors.index.json").unlink()
    files = dict(zip(names, (2, 2, 1), strict=True))
    index = {
        "weight_map": {key: f"{stem}-0000{n}-of-00002.safetensors" for key, n in files.items()}
    }
    (assets / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "hf", model="flux", hf_assets_path=assets)
    made = json.loads((tmp_path / "hf" / f"{stem}.safetensors.index.json").read_text())
    assert made["weight_map"] == index["weight_map"]
    assert len(list((tmp_path / "hf").glob("*.safetensors"))) == 2
    assert dcpcpp.verify(tmp_path / "hf").ok
    dcpcpp.convert(tmp_path / "hf", tmp_path / "back", model="flux", reverse=True)
    require_same(dcpcpp.load_full(tmp_path / "back"), state)


def test_rules_of_a_file_come_first(trained: pathlib.Path, tmp_path: pathlib.Path) -> None:
    rules = [{"native": "norm.weight", "hf": "my_norm", "cast": {"hf": "float16"}}]
    (tmp_path / "my.json").write_text(json.dumps({"rules": rules}))
    dcpcpp.convert(
        trained,
        tmp_path / "hf",
        model="llama3",
        mapping=tmp_path / "my.json",
        model_flavor="8B",
        exclude="lm_head.weight",
    )
    made = load_file(tmp_path / "hf" / "model.safetensors")
    assert torch.equal(made["my_norm"], native()["norm.weight"].half())
    assert "lm_head.weight" not in made
    dcpcpp.convert(trained, tmp_path / "m.pt", model="llama3", model_flavor="8B")
    assert "model.norm.weight" in torch.load(tmp_path / "m.pt", weights_only=True)


def test_what_a_mapping_cannot_do_is_refused(trained: pathlib.Path, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "hf"
    with pytest.raises(ValueError, match="num_attention_heads"):
        dcpcpp.convert(trained, target, model="llama3")
    with pytest.raises(ValueError, match="no mapping for the model"):
        dcpcpp.convert(trained, target, model="llama9")
    with pytest.raises(ValueError, match='no flavor "9B"'):
        dcpcpp.convert(trained, target, model="llama3", model_flavor="9B")
    with pytest.raises(ValueError, match="has no rule for"):
        dcpcpp.convert(trained, target, model="flux")
    with pytest.raises(ValueError, match="are for a model"):
        dcpcpp.convert(trained, target, reverse=True)
    for options in ({"model": "llama3"}, {"to": "safetensors", "max_shard_size": "5GB"}):
        with pytest.raises(FileNotFoundError, match="hf_assets_path"):
            dcpcpp.convert(trained, target, hf_assets_path=tmp_path / "none", **options)
    assert not target.exists()


def test_the_config_says_what_is_written(tmp_path: pathlib.Path, assets: pathlib.Path) -> None:
    dcpcpp.save({"lm_head.weight": ramp(4, 2)}, checkpoint_id=tmp_path / "dcp")
    quantized = {"torch_dtype": "float16", "quantization_config": {"quant_method": "mxfp4"}}
    (assets / "config.json").write_text(json.dumps({**quantized, "hidden_size": 2}))
    dcpcpp.convert(
        tmp_path / "dcp",
        tmp_path / "hf",
        model="gpt_oss",
        model_flavor="20b",
        dtype="bfloat16",
        hf_assets_path=assets,
    )
    made = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert made == {"torch_dtype": "bfloat16", "hidden_size": 2}
    plain = {"to": "safetensors", "max_shard_size": "1GB", "hf_assets_path": assets}
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "plain", **plain)
    assert json.loads((tmp_path / "plain" / "config.json").read_text())["quantization_config"]
    (assets / "config.json").write_text("[")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        dcpcpp.convert(tmp_path / "dcp", tmp_path / "more", dtype="float16", **plain)
    assert not (tmp_path / "more").exists()


def test_an_index_that_names_other_tensors_does_not_count(
    trained: pathlib.Path, assets: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    index = assets / "model.safetensors.index.json"
    options = {"model": "llama3", "hf_assets_path": assets}
    blocks = {"model.layers.0.mlp.experts.down_proj_blocks": "model-00002-of-00003.safetensors"}
    index.write_text(json.dumps({"weight_map": blocks}))
    dcpcpp.convert(trained, tmp_path / "hf", **options)
    require_same(load_file(tmp_path / "hf" / "model.safetensors"), hugging_face())
    for text in ("{", "{}", "[1]", '{"weight_map": {"norm": 1}}'):
        index.write_text(text)
        with pytest.raises(ValueError, match=r"index\.json is damaged"):
            dcpcpp.convert(trained, tmp_path / "more", **options)
    # The number is that of the file, not of the model.
    names = {name: "llama3-00001-of-00001.safetensors" for name in hugging_face()}
    index.write_text(json.dumps({"weight_map": names}))
    dcpcpp.convert(trained, tmp_path / "hf", **options)
    assert len(list((tmp_path / "hf").glob("*.safetensors"))) == 1
