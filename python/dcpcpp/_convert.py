"""convert: a checkpoint in another format, without a model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcpcpp import _core
from dcpcpp._look import counted, print_json, safe
from dcpcpp._look_commands import AsJson
from dcpcpp._model_mapping import ModelOptions
from dcpcpp._progress import bar
from dcpcpp._selection import Patterns, Rename, Selection
from dcpcpp._text import is_url, path_text

if TYPE_CHECKING:
    import torch

FORMATS = ("dcp", "torch", "safetensors")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ConvertReport:
    """What `dcpcpp.convert` did.

    Attributes:
        tensors: keys of tensors.
        objects: keys of objects.
        nbytes: bytes of the tensors, as they are stored now; of tied ones once.
        seconds: how long it took.
    """

    tensors: int
    objects: int
    nbytes: int
    seconds: float


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    to: str | None = None,
    dtype: str | torch.dtype | None = None,
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    rename: Rename | None = None,
    max_shard_size: int | str | None = None,
    model: str | None = None,
    reverse: bool = False,
    mapping: str | os.PathLike[str] | None = None,
    model_flavor: str | None = None,
    hf_assets_path: str | os.PathLike[str] | None = None,
    dialect: str | None = None,
    progress: Progress | None = None,
) -> ConvertReport:
    """Write the checkpoint `source` in another format, or dtype, to `destination`.

    Needs no model, no process group, not even torch, and less than 1 GiB of memory whatever
    the size, for tensors; objects are in memory as they are. What is read is checked as a
    load checks it. `destination` is replaced in one step, when everything is written.
    A process that is killed before leaves what `dcpcpp.clean` removes, or beside a torch file
    one named "<destination>.<hex>.partial".

    Args:
        source: a directory in the format of `torch.distributed.checkpoint`, of whichever
            writer, or of safetensors files; or a file of `torch.save`. No code that it
            names is run.
        destination: a directory, or a file.
        to: "dcp"; "torch", a file for `torch.load(weights_only=True)`; "safetensors", a
            directory with `model.safetensors`, or several files and their index, for
            tensors only; None: "torch" if the name ends in .pt, .pth or .bin, else "dcp".
        dtype: what floating-point tensors become, "bfloat16" for example; None: they stay.
        include: patterns of the keys to convert, as `dcpcpp.save` takes them; None: all.
        exclude: patterns of keys to leave out.
        rename: from the source's keys to those of `destination`, as `dcpcpp.save` takes it:
            {"model.": ""} takes that off the names.
        max_shard_size: bytes of tensors in one safetensors file, a number or a text such as
            "5GB", which is the default (of 1000**3 bytes; "5GiB" is of 1024**3).
        model: "llama3", "llama4", "qwen3", "deepseek_v3", "gpt_oss" or "flux": tensors of
            TorchTitan become those of Hugging Face, in safetensors if neither `to` nor the
            name says otherwise; the files of flux are called as diffusers has them. `include`,
            `exclude` and `rename` come before that. A key for which the model has no rule is
            an error. "none": as None.
        reverse: tensors of Hugging Face become those of TorchTitan.
        mapping: a file with rules of your own (src/mapping/MAPPING.md), which come before
            those of `model`, or are all.
        model_flavor: TorchTitan's name of the model's size, "8B" for example, which tells
            what rules need, as config.json does. Where one says that lm_head is tied, it is
            not written; that it holds other values than the embeddings is an error.
        hf_assets_path: a directory of Hugging Face's: its config.json has numbers that rules
            need, its index, if it names them all, says which file each tensor goes into
            (without `max_shard_size`), and config and tokenizer are copied to safetensors:
            the config with `dtype`, and without quantization_config if the model's
            quantized weights are floats in a trainer.
        dialect: "0.2" for the names of TorchTitan 0.2; None: the source's, or the latest.
        progress: called now and then with the bytes that are done and those in all.

    Raises:
        FileNotFoundError: there is no checkpoint, or no directory `hf_assets_path`.
        CheckpointCorruptedError: it is damaged, or an attack.
        NotImplementedError: a tensor that only torch can rebuild (a subclass, a sparse
            one); an object that only Python can copy;
            a URL.
        ValueError: source and destination are the same; a file of torch before 1.6; no key
            is selected; a key that is no tensor, or of a dtype that safetensors lacks, where
            these are wanted; config.json or index of `hf_assets_path` is damaged: nothing
            has been written.

    Example:
        >>> dcpcpp.convert("/ckpt/step-100", "model.pt", dtype="bfloat16")
        >>> dcpcpp.convert("/ckpt/step-100", "/models/mine", to="safetensors",
        ...                include="model", rename={"model.": ""})
        >>> dcpcpp.convert("/ckpt/step-100", "/models/mine", model="llama3",
        ...                hf_assets_path="/models/Llama-3.1-8B")
    """
    options = ModelOptions(model, reverse, mapping, model_flavor, hf_assets_path, dialect)
    is_torch_file = path_text(destination).endswith((".pt", ".pth", ".bin"))
    if options.maps and not reverse and to is None and not is_torch_file:
        to = "safetensors"
    if to is not None and to not in FORMATS:
        raise ValueError(f"to is one of {', '.join(FORMATS)}, not {to!r}")
    if max_shard_size is not None and to != "safetensors":
        raise ValueError('max_shard_size is for to="safetensors"')
    if hf_assets_path is not None and to != "safetensors" and not options.maps:
        raise ValueError("hf_assets_path is for safetensors, a model or a mapping")
    paths = convert_paths(source, destination)
    if to is not None:
        paths.set_format(to)
    if max_shard_size is not None:
        paths.max_shard_nbytes = _core.parse_shard_nbytes(str(max_shard_size))
    elif to == "safetensors":
        paths.file_numbers = options.file_numbers()
    selection = Selection(include, exclude, rename)
    made = options.make_mapping(source) if options.maps else None
    dtype_name = None if dtype is None else str(dtype).removeprefix("torch.")
    config = options.config_for(dtype_name, dequantizes=made is not None and made.dequantizes)
    start = time.perf_counter()
    done = _core.convert(
        paths,
        None if dtype_name is None else _code_of(dtype_name),
        None if selection.is_trivial else selection.name_of,
        progress,
        _core.single_process_transport(),
        made,
    )
    if to == "safetensors":
        options.copy_assets(destination, config)
    return ConvertReport(
        tensors=done.tensors,
        objects=done.objects,
        nbytes=done.nbytes,
        seconds=time.perf_counter() - start,
    )


def convert_paths(
    source: str | os.PathLike[str], destination: str | os.PathLike[str]
) -> _core.ConvertPaths:
    """Both, for libdcp.

    Raises:
        NotImplementedError: one of them is a URL.
    """
    for place in (source, destination):
        if is_url(os.fspath(place)):
            raise NotImplementedError(f"convert takes paths of this machine, not {place}")
    paths = _core.ConvertPaths()
    paths.source = path_text(source)
    paths.destination = path_text(destination)
    return paths


def _code_of(name: str) -> int:
    code = _core.dtype_codes().get(name)
    if code is None:
        raise ValueError(f"there is no dtype {name!r}")
    return code


def convert_command(
    source: Annotated[
        str, typer.Argument(help="A checkpoint: DCP or safetensors directory, or torch file.")
    ],
    destination: Annotated[str, typer.Argument(help="Replaced in one step when all is written.")],
    to: Annotated[
        str | None,
        typer.Option(
            help="dcp, torch or safetensors; torch by default for names in .pt, .pth or .bin."
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="What floating-point tensors become, e.g. bfloat16.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Keys to convert, e.g. 'model' or 'layers.*'.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Keys to leave out.")] = None,
    rename: Annotated[
        list[str] | None, typer.Option(help="OLD=NEW names of keys, e.g. 'model.='.")
    ] = None,
    max_shard_size: Annotated[
        str | None, typer.Option(help="Of one safetensors file, e.g. 5GB, the default, or 5GiB.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Map TorchTitan's tensors to Hugging Face's: llama3, llama4, qwen3, "
            "deepseek_v3, gpt_oss, flux."
        ),
    ] = None,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="Map Hugging Face's tensors to TorchTitan's.")
    ] = False,
    mapping: Annotated[
        str | None, typer.Option(help="A JSON file with rules, which come before the model's.")
    ] = None,
    model_flavor: Annotated[
        str | None, typer.Option(help="TorchTitan's name of the model's size, e.g. 8B.")
    ] = None,
    hf_assets_path: Annotated[
        str | None,
        typer.Option(help="Hugging Face's directory with config.json, tokenizer and index."),
    ] = None,
    dialect: Annotated[
        str | None, typer.Option(help="Of native names: 0.2 for those of TorchTitan 0.2.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint in another format, or dtype, without a model.

    JSON: `source`, `destination`, `tensors`, `objects`, `nbytes` and `seconds`.
    """
    report_conversion(
        source,
        destination,
        as_json,
        to=to,
        dtype=dtype,
        include=include,
        exclude=exclude,
        rename=_renames(rename or []),
        max_shard_size=max_shard_size,
        model=model,
        reverse=reverse,
        mapping=mapping,
        model_flavor=model_flavor,
        hf_assets_path=hf_assets_path,
        dialect=dialect,
    )


def consolidate_command(
    source: Annotated[str, typer.Argument(help="A directory of files of single ranks.")],
    destination: Annotated[str, typer.Argument(help="Replaced in one step when all is written.")],
    max_shard_size: Annotated[
        str | None, typer.Option(help="Of one file, e.g. 5GB, the default, or 5GiB.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the final safetensors files of those that each rank wrote for itself.

    JSON: as of `convert`.
    """
    report_conversion(source, destination, as_json, to="safetensors", max_shard_size=max_shard_size)


def _renames(pairs: list[str]) -> Mapping[str, str] | None:
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"--rename is OLD=NEW, not {pair!r}")
    return dict(pair.split("=", 1) for pair in pairs) or None


def report_conversion(source: str, destination: str, as_json: bool = False, **options: Any) -> None:
    """`convert` with a bar on a terminal, and a line, or JSON, at the end."""
    with bar("convert") as tell:
        report = convert(source, destination, progress=tell, **options)
    if as_json:
        print_json({"source": source, "destination": destination, **asdict(report)})
        return
    rate = report.nbytes / report.seconds / 1e9 if report.seconds else 0.0
    typer.echo(
        f"{safe(destination)}: {counted(report.tensors, 'tensor')}, "
        f"{counted(report.objects, 'object')}, "
        f"{report.nbytes:,} bytes in {report.seconds:.2f} s ({rate:.2f} GB/s)"
    )
