"""CheckpointConfig: TorchTitan's names, defaults, rules and words."""

from __future__ import annotations

import argparse
import logging
import pathlib
import re

import pytest

from dcpcpp import CheckpointConfig


def test_the_defaults_are_torchtitans() -> None:
    config = CheckpointConfig()
    assert (config.enable, config.folder, config.interval) == (False, "checkpoint", 500)
    assert (config.load_step, config.keep_latest_k, config.async_mode) == (-1, 10, "disabled")
    assert config.last_save_model_only
    assert config.initial_load_model_only
    assert config.export_dtype == "float32"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folder": " "}, "The 'folder' field cannot be empty."),
        ({"interval": 0}, "Checkpoint interval needs to be at least 1 step."),
        ({"keep_latest_k": -1}, "keep_latest_k cannot be negative."),
        (
            {"keep_latest_k": 1},
            "We need to maintain at least 2 checkpoint replicas, as the last one may be in the "
            "process of being saved.",
        ),
        ({"folder": "gs://bucket/run"}, "checkpoint.folder is a local path, not gs://bucket/run"),
        ({"async_mode": "fast"}, "Invalid async_mode: fast"),
        ({"export_dtype": "int8"}, "export_dtype is one of float16, bfloat16, float32"),
        ({"load_step": -2}, "load_step is a step, or -1 for the newest one, not -2"),
        (
            {"create_seed_checkpoint": True},
            "Must enable checkpointing when creating a seed checkpoint.",
        ),
        (
            {"initial_load_path": "there"},
            "initial_load_path must be an absolute path or a remote URI (e.g. gs://...): there",
        ),
        (
            {"initial_load_in_hf": True, "initial_load_model_only": False},
            "initial_load_in_hf requires initial_load_model_only.",
        ),
        (
            {"initial_load_in_hf": True, "initial_load_path": "gs://bucket/model"},
            "initial_load_in_hf is not supported with a remote initial_load_path: gs://bucket",
        ),
        (
            {"initial_load_in_hf": True, "initial_load_in_hf_quantized": True},
            "initial_load_in_hf_quantized requires initial_load_in_hf and initial_load_path.",
        ),
        (
            {"exclude_from_loading": ["model"]},
            "model key shouldn't be in exclude_from_loading.",
        ),
        (
            {"exclude_from_loading": ["optimizer"]},
            "lr_scheduler must be excluded when optimizer is excluded.",
        ),
        (
            {"last_save_in_hf": True, "last_save_model_only": False},
            "last_save_in_hf requires last_save_model_only=True.",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        CheckpointConfig(**options)


def test_what_is_ignored_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dcpcpp"):
        CheckpointConfig(enable=True, load_only=True, enable_first_step_checkpoint=True)
    assert caplog.messages == [
        "initial_load_model_only=True has no effect without an initial_load_path.",
        "checkpoint.load_only is True; enable_first_step_checkpoint will be ignored.",
    ]


def test_options_are_put_into_one_form() -> None:
    config = CheckpointConfig(
        async_mode="ASYNC",  # type: ignore[arg-type]
        exclude_from_loading=["data_loader"],
        initial_load_path=" /models/base ",
    )
    assert config.async_mode == "async"
    assert config.exclude_from_loading == ("dataloader",)
    assert config.initial_load_path == "/models/base"


TOML = """
[model]
hf_assets_path = "/models/base"

[checkpoint]
enable_checkpoint = true
folder = "steps"
interval = 100
exclude_from_loading = ["data_loader"]
last_save_in_safetensors_format = true
enable_ft_dataloader_checkpoints = false
"""


def test_torchtitans_toml_is_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "run.toml").write_text(TOML)
    with pytest.warns(DeprecationWarning, match="is called") as told:
        config = CheckpointConfig.from_toml(tmp_path / "run.toml")
    assert [str(one.message) for one in told] == [
        "checkpoint.enable_checkpoint is called checkpoint.enable now",
        "checkpoint.last_save_in_safetensors_format is called checkpoint.last_save_in_hf now",
    ]
    assert config == CheckpointConfig(
        enable=True,
        folder="steps",
        interval=100,
        exclude_from_loading=["dataloader"],
        last_save_in_hf=True,
        hf_assets_path="/models/base",
        enable_ft_dataloader_checkpoints=False,
    )


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("enable_checkpoint", "enable"),
        ("last_save_model_weights_only", "last_save_model_only"),
        ("initial_load_model_weights_only", "initial_load_model_only"),
        ("enable_save_safetensors_format", "last_save_in_hf"),
        ("last_save_in_safetensors_format", "last_save_in_hf"),
    ],
)
def test_the_names_of_2025_are_known(tmp_path: pathlib.Path, old: str, name: str) -> None:
    default = getattr(CheckpointConfig(), name)
    (tmp_path / "run.toml").write_text(f"[checkpoint]\n{old} = {str(not default).lower()}\n")
    with pytest.warns(DeprecationWarning, match=f"{old} is called checkpoint.{name} now"):
        config = CheckpointConfig.from_toml(tmp_path / "run.toml")
    assert getattr(config, name) is not default


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("intervals = 3", "there is no option checkpoint.intervals; did you mean interval?"),
        ("xyz = 3", "there is no option checkpoint.xyz"),
        ("interval = true", "checkpoint.interval is a whole number, not True"),
        ('enable = "yes"', "checkpoint.enable is true or false, not 'yes'"),
        ('exclude_from_loading = "optimizer"', "checkpoint.exclude_from_loading is a list of"),
    ],
)
def test_what_a_toml_file_has_wrong_is_told(
    tmp_path: pathlib.Path, line: str, message: str
) -> None:
    (tmp_path / "run.toml").write_text(f"[checkpoint]\n{line}\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        CheckpointConfig.from_toml(tmp_path / "run.toml")


def test_a_command_line_changes_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    CheckpointConfig.add_arguments(parser)
    words = (
        "--checkpoint.enable --checkpoint.last_save_model_only false --checkpoint.interval 7 "
        "--checkpoint.exclude_from_loading data_loader,lr_scheduler "
        "--checkpoint.initial_load_path /models/base"
    )
    config = CheckpointConfig(folder="steps").with_arguments(parser.parse_args(words.split()))
    assert config == CheckpointConfig(
        enable=True,
        folder="steps",
        last_save_model_only=False,
        interval=7,
        exclude_from_loading=["dataloader", "lr_scheduler"],
        initial_load_path="/models/base",
    )
    with pytest.raises(SystemExit):
        parser.parse_args(["--checkpoint.enable=perhaps"])
    assert "true or false, not 'perhaps'" in capsys.readouterr().err
