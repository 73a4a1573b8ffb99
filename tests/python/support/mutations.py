"""New inputs for parsers, made out of good ones; the same for the same seed."""

from __future__ import annotations

import pickletools
import random
from collections.abc import Sequence

_LIMITS = [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62]


class Mutator:
    """Changes bytes.

    Args:
        seeds: good inputs.
        words: byte strings that mean something in them.
        draw: where chance comes from.
    """

    def __init__(self, seeds: Sequence[bytes], words: Sequence[bytes], draw: random.Random) -> None:
        self._seeds = seeds
        self._words = words
        self._draw = draw

    def next(self) -> bytes:
        """An input with one to four changes."""
        data = bytearray(self._draw.choice(self._seeds))
        for _ in range(1 + self._draw.randrange(4)):
            self._change(data)
        return bytes(data)

    def _change(self, data: bytearray) -> None:
        draw = self._draw
        at = draw.randrange(len(data)) if data else 0
        kind = draw.randrange(7)
        if kind == 0 and data:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1 and data:
            data[at] = draw.randrange(256)
        elif kind == 2:
            width = draw.choice((1, 2, 4, 8))
            value = draw.choice(_LIMITS) & ((1 << 8 * width) - 1)
            data[at : at + width] = value.to_bytes(width, "little")
        elif kind == 3:
            data[at:at] = draw.randbytes(draw.randrange(8))
        elif kind == 4:
            del data[at : at + draw.randrange(16)]
        elif kind == 5:
            data[at:at] = data[draw.randrange(len(data) + 1) :][: draw.randrange(64)]
        else:
            data[at : at + draw.randrange(8)] = draw.choice(self._words)


class PickleMutator(Mutator):
    """Changes bytes of pickles, and whole opcodes."""

    def __init__(self, seeds: Sequence[bytes], words: Sequence[bytes], draw: random.Random) -> None:
        super().__init__(seeds, words, draw)
        self._opcodes = [_split(seed) for seed in seeds]

    def next(self) -> bytes:
        """A pickle with one to four changes."""
        if self._draw.random() < 0.4:
            return self._with_other_opcodes(self._draw.choice(self._opcodes))
        return super().next()

    def _with_other_opcodes(self, opcodes: Sequence[bytes]) -> bytes:
        draw = self._draw
        parts = list(opcodes)
        for _ in range(1 + draw.randrange(3)):
            at = draw.randrange(len(parts))
            kind = draw.randrange(5)
            if kind == 0:
                del parts[at]
            elif kind == 1:
                parts.insert(at, parts[draw.randrange(len(parts))])
            elif kind == 2:
                other = draw.randrange(len(parts))
                parts[at], parts[other] = parts[other], parts[at]
            elif kind == 3:
                parts[at] = draw.choice(self._words)
            else:
                parts[at] = draw.choice(draw.choice(self._opcodes))
            if not parts:
                break
        return b"".join(parts)


def _split(pickled: bytes) -> list[bytes]:
    """The opcodes of a pickle, each with its argument."""
    starts = [position for _, _, position in pickletools.genops(pickled) if position is not None]
    return [
        pickled[begin:end] for begin, end in zip(starts, [*starts[1:], len(pickled)], strict=True)
    ]
