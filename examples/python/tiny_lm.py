"""A small byte-level transformer language model and real text to train it on."""

from __future__ import annotations

import pathlib
import sysconfig

import torch
from torch import nn
from torch.nn import functional

VOCABULARY = 256  # bytes


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class TinyLM(nn.Module):
    """Predicts the next byte."""

    def __init__(
        self, width: int = 512, layers: int = 4, heads: int = 8, length: int = 128
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.token(tokens) + self.position(positions)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def load_text(nbytes: int = 4_000_000) -> torch.Tensor:
    """The Python standard library's own sources, as bytes."""
    text = b""
    for path in sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text += path.read_bytes()
        if len(text) >= nbytes:
            break
    return torch.frombuffer(bytearray(text[:nbytes]), dtype=torch.uint8).long()


def batch_at(text: torch.Tensor, step: int, size: int, length: int) -> torch.Tensor:
    """The `step`-th global batch, [size, length + 1]: the same whatever the ranks."""
    generator = torch.Generator().manual_seed(1000 + step)
    starts = torch.randint(0, len(text) - length - 1, (size,), generator=generator)
    return torch.stack([text[start : start + length + 1] for start in starts.tolist()])
