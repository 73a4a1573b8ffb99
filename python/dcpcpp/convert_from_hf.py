"""TorchTitan's script of this name: Hugging Face's safetensors become a DCP checkpoint.

    python -m dcpcpp.convert_from_hf INPUT_DIR OUTPUT_DIR --model_name llama3 --model_flavor 8B

Unlike TorchTitan's it builds no model and streams: `dcpcpp.convert` with `reverse=True`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from dcpcpp._convert import convert
from dcpcpp._model_scripts import add_common_arguments, run_script


def convert_from_hf(
    input_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    model_name: str,
    model_flavor: str,
) -> None:
    """Write a checkpoint for TorchTitan to load, from Hugging Face's weights.

    Mirrors TorchTitan's function. Numbers such as that of heads come from the flavor and
    from config.json in `input_dir`, if it is there; they must agree.

    Args:
        input_dir: a directory of safetensors files.
        output_dir: the checkpoint; replaced in one step if it is there.
        model_name: "llama3" for example, see `dcpcpp.convert`.
        model_flavor: "8B" for example.

    Raises:
        Exception: see `dcpcpp.convert`.
    """
    convert(input_dir, output_dir, model=model_name, model_flavor=model_flavor, reverse=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run TorchTitan's command line, unchanged; errors are one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="python -m dcpcpp.convert_from_hf", description="Convert HF weights to DCP format."
    )
    add_common_arguments(parser, source="HF checkpoint", destination="DCP checkpoint")
    args = parser.parse_args(arguments)
    run_script(
        lambda: convert_from_hf(args.input_dir, args.output_dir, args.model_name, args.model_flavor)
    )


if __name__ == "__main__":
    main()
