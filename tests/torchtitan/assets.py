"""The tokenizer and the text that TorchTitan's debug models train on.

The text is the standard library of the Python that runs this.
"""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

_LENGTH, _COUNT, _VOCABULARY = 4000, 1200, 2000
_BEGIN, _END = "<|begin_of_text|>", "<|end_of_text|>"


def make_assets(work: Path) -> None:
    """Where a trainer whose working directory is `work` looks for them."""
    root = work / "tests" / "assets"
    texts = _texts()
    _write_tokenizer(texts, root / "tokenizer")
    (root / "c4_test").mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": text}) for text in texts]
    (root / "c4_test" / "data.json").write_text("\n".join(lines) + "\n")


def _texts() -> list[str]:
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    whole = [path.read_text(encoding="utf-8", errors="ignore") for path in sources]
    return [t[i : i + _LENGTH] for t in whole for i in range(0, len(t), _LENGTH)][:_COUNT]


def _write_tokenizer(texts: list[str], directory: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[_BEGIN, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts[:400], trainer)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "bos_token": _BEGIN,
        "eos_token": _END,
        "add_bos_token": True,
        "add_eos_token": False,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config))


__all__ = ["make_assets"]
