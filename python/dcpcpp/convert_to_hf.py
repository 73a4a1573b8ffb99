"""TorchTitan's script of this name: a DCP checkpoint becomes Hugging Face's safetensors.

    python -m dcpcpp.convert_to_hf INPUT_DIR OUTPUT_DIR --model_name llama3 --model_flavor 8B \
        --hf_assets_path assets/hf/Llama-3.1-8B --export_dtype bfloat16

Unlike TorchTitan's it builds no model, streams, leaves no second copy behind, and copies no
config or tokenizer from a directory that nobody named.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from dcpcpp._convert import convert
from dcpcpp._model_scripts import add_common_arguments, run_script


def convert_to_hf(
    input_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    model_name: str,
    model_flavor: str,
    hf_assets_path: str | os.PathLike[str] | None,
    export_dtype: str,
) -> None:
    """Write Hugging Face's weights from a checkpoint of TorchTitan's.

    Mirrors TorchTitan's function; of a checkpoint with more than the model, the optimizer for
    example, the model is taken.

    Args:
        input_dir: the checkpoint.
        output_dir: a directory; a safetensors checkpoint there is replaced in one step.
        model_name: "llama3" for example, see `dcpcpp.convert`.
        model_flavor: "8B" for example.
        hf_assets_path: see `dcpcpp.convert`.
        export_dtype: of floating-point tensors: "float16", "bfloat16" or "float32".

    Raises:
        Exception: see `dcpcpp.convert`.
    """
    convert(
        input_dir,
        output_dir,
        to="safetensors",
        dtype=export_dtype,
        model=model_name,
        model_flavor=model_flavor,
        hf_assets_path=hf_assets_path,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run TorchTitan's command line, unchanged; errors are one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="python -m dcpcpp.convert_to_hf", description="Convert DCP weights to HF format."
    )
    add_common_arguments(parser, source="DCP checkpoint", destination="HF checkpoint")
    parser.add_argument(
        "--hf_assets_path",
        type=Path,
        help="Hugging Face's directory with config.json, tokenizer and index (default: none)",
    )
    parser.add_argument(
        "--export_dtype",
        nargs="?",
        choices=["float16", "bfloat16", "float32"],
        default="float32",
        help="of floating-point tensors (default: float32)",
    )
    args = parser.parse_args(arguments)
    run_script(
        lambda: convert_to_hf(
            args.input_dir,
            args.output_dir,
            args.model_name,
            args.model_flavor,
            args.hf_assets_path,
            args.export_dtype,
        )
    )


if __name__ == "__main__":
    main()
