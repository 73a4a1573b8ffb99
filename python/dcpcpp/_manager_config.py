"""CheckpointConfig: the options of a run's checkpoints, by TorchTitan's names."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from collections.abc import Sequence
from typing import Literal

from dcpcpp import _core, _manager_options
from dcpcpp._text import is_url

logger = logging.getLogger("dcpcpp")

AsyncMode = Literal["disabled", "async", "async_with_pinned_mem"]
ExportDtype = Literal["float16", "bfloat16", "float32"]

_ASYNC_MODES = ("disabled", "async", "async_with_pinned_mem")
_EXPORT_DTYPES = ("float16", "bfloat16", "float32")
# What TorchTitan's documentation calls the key, and what it is called.
_ALIASES = {"data_loader": "dataloader"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Options of a `CheckpointManager`, with TorchTitan's names, defaults and rules.

    Attributes:
        enable: whether there are checkpoints at all. Off, the manager does nothing.
        folder: where the steps are, `folder/step-<N>`.
        interval: save whenever the step is a multiple of it.
        load_step: step to load, or -1 for the newest one.
        require_full_resume: whether it is an error, and not a warning, that the run has
            steps and none of them has more than the model. (Not TorchTitan's.)
        initial_load_path: absolute path of a checkpoint to start from, used as long as the
            folder has no step: a run that is started again with the same options goes on.
        initial_load_model_only: load only the model of it.
        initial_load_in_hf: it is in safetensors; without a path, `hf_assets_path` is.
        initial_load_in_hf_quantized: its weights are quantized, and read as floats.
        hf_assets_path: directory of the model as Hugging Face ships it; None: the
            adapter's.
        last_save_model_only: the last step is saved without the other states.
        last_save_in_hf: the last step is saved in safetensors.
        export_dtype: of the floating-point tensors of a last save of the model only.
        keep_latest_k: how many steps are kept; 0 for all. See `CheckpointManager`.
        exclude_from_loading: states that are not loaded; "data_loader" means "dataloader".
        enable_first_step_checkpoint: save step 1, too, to try the storage early.
        create_seed_checkpoint: the run is there to save step 0 on one process:
            `CheckpointManager.save_seed`.
        load_only: nothing is saved.
        async_mode: "disabled", "async" (the call returns when the state is copied), or
            "async_with_pinned_mem" (the copy is made beside the training, too, into pinned
            memory, and another process writes it; see `maybe_wait_for_staging`).
        enable_ft_dataloader_checkpoints: in a fault-tolerant run each replica saves where it is in
            its data, every step. Without it replicas that come back train on data again. See
            `ft_manager` of `CheckpointManager`.

    Raises:
        ValueError: options that make no sense, in TorchTitan's words.
    """

    enable: bool = False
    folder: str = "checkpoint"
    interval: int = 500
    load_step: int = -1
    require_full_resume: bool = False
    initial_load_path: str | None = None
    initial_load_model_only: bool = True
    initial_load_in_hf: bool = False
    initial_load_in_hf_quantized: bool = False
    hf_assets_path: str | None = None
    last_save_model_only: bool = True
    last_save_in_hf: bool = False
    export_dtype: ExportDtype = "float32"
    keep_latest_k: int = 10
    exclude_from_loading: Sequence[str] = ()
    enable_first_step_checkpoint: bool = False
    create_seed_checkpoint: bool = False
    load_only: bool = False
    async_mode: AsyncMode = "disabled"
    enable_ft_dataloader_checkpoints: bool = True

    def __post_init__(self) -> None:
        self._normalize()
        _core.check_manager_options(self.core_options(self.folder))
        self._check_words()
        self._check_loads()
        self._check_saves()

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> CheckpointConfig:
        """The options in the table `[checkpoint]` of a TOML file, as TorchTitan has them.

        `hf_assets_path` may be in the table `[model]`. The names of 2025, such as
        `enable_checkpoint`, work with a DeprecationWarning.

        Raises:
            ValueError: there is no such option; the message has the one that is meant.
            OSError: the file cannot be read.

        Example:
            >>> config = dcpcpp.CheckpointConfig.from_toml("llama3_8b.toml")
        """
        return cls(**_manager_options.read_toml(cls, path))

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Give `parser` an option `--checkpoint.<name>` for each field.

        Booleans may stand bare; lists are separated by commas.

        Example:
            >>> dcpcpp.CheckpointConfig.add_arguments(parser)
            >>> config = dcpcpp.CheckpointConfig().with_arguments(parser.parse_args())
        """
        _manager_options.add_arguments(cls, parser)

    def with_arguments(self, arguments: argparse.Namespace) -> CheckpointConfig:
        """These options, with those that were given on the command line in their place."""
        return dataclasses.replace(self, **_manager_options.given_arguments(arguments))

    def core_options(self, folder: str) -> _core.ManagerOptions:
        """What libdcp's manager needs to know, with the steps in `folder`."""
        options = _core.ManagerOptions()
        options.folder = folder
        options.keep_latest_k = self.keep_latest_k
        options.save.interval = self.interval
        options.save.enable_first_step_checkpoint = self.enable_first_step_checkpoint
        options.save.last_save_model_only = self.last_save_model_only
        options.save.load_only = self.load_only
        return options

    def _normalize(self) -> None:
        if isinstance(self.exclude_from_loading, str):
            raise ValueError("exclude_from_loading is a list of keys, not one text")
        excluded = tuple(_ALIASES.get(key, key) for key in self.exclude_from_loading)
        path = self.initial_load_path.strip() if self.initial_load_path else None
        object.__setattr__(self, "exclude_from_loading", excluded)
        object.__setattr__(self, "initial_load_path", path or None)
        object.__setattr__(self, "async_mode", self.async_mode.lower())

    def _check_words(self) -> None:
        if self.async_mode not in _ASYNC_MODES:
            raise ValueError(f"Invalid async_mode: {self.async_mode}")
        if self.export_dtype not in _EXPORT_DTYPES:
            raise ValueError(
                f"export_dtype is one of {', '.join(_EXPORT_DTYPES)}, not {self.export_dtype!r}"
            )
        if self.load_step < -1:
            raise ValueError(f"load_step is a step, or -1 for the newest one, not {self.load_step}")
        if is_url(self.folder):
            raise ValueError(f"checkpoint.folder is a local path, not {self.folder}")
        if self.create_seed_checkpoint and not self.enable:
            raise ValueError("Must enable checkpointing when creating a seed checkpoint.")

    def _check_loads(self) -> None:
        path = self.initial_load_path
        if path is not None and not path.startswith("/") and not is_url(path):
            raise ValueError(
                "initial_load_path must be an absolute path or a remote URI (e.g. gs://...): "
                f"{path}"
            )
        if self.enable and self.initial_load_model_only and path is None:
            # The default would warn every run.
            logger.info("initial_load_model_only=True has no effect without an initial_load_path.")
        if self.initial_load_in_hf and not self.initial_load_model_only:
            raise ValueError("initial_load_in_hf requires initial_load_model_only.")
        if self.initial_load_in_hf and is_url(path):
            raise ValueError(
                f"initial_load_in_hf is not supported with a remote initial_load_path: {path}"
            )
        if self.initial_load_in_hf_quantized and not (self.initial_load_in_hf and path):
            raise ValueError(
                "initial_load_in_hf_quantized requires initial_load_in_hf and initial_load_path."
            )
        if "model" in self.exclude_from_loading:
            raise ValueError("model key shouldn't be in exclude_from_loading.")
        excludes_optimizer = "optimizer" in self.exclude_from_loading
        if excludes_optimizer and "lr_scheduler" not in self.exclude_from_loading:
            raise ValueError("lr_scheduler must be excluded when optimizer is excluded.")

    def _check_saves(self) -> None:
        if self.last_save_in_hf and not self.last_save_model_only:
            raise ValueError("last_save_in_hf requires last_save_model_only=True.")
        if self.load_only and self.enable_first_step_checkpoint:
            logger.warning(
                "checkpoint.load_only is True; enable_first_step_checkpoint will be ignored."
            )
