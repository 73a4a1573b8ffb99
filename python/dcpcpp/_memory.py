"""The memory of tensors: whether it is theirs, whether it is there, what its bytes mean."""

from __future__ import annotations

import torch

# dcp::ElementOp
NO_OP, CONJ, NEG = 0, 1, 2


def require_own_memory(tensor: torch.Tensor) -> None:
    """Refuse what torch's copy_ refuses: elements that share one memory location."""
    sizes, strides = tuple(tensor.size()), tensor.stride()
    if any(stride == 0 and size > 1 for size, stride in zip(sizes, strides, strict=True)):
        raise RuntimeError(
            f"a tensor of size {sizes} and strides {strides} cannot be loaded: more than one "
            "element of it refers to a single memory location"
        )


def op_of(tensor: torch.Tensor) -> int | None:
    """What the bits of `tensor` leave to be done; None for what libdcp does not do."""
    if not (tensor.is_conj() or tensor.is_neg()):
        return NO_OP
    if tensor.is_conj():
        return None if tensor.is_neg() else CONJ
    is_wide = tensor.is_complex() or (tensor.is_floating_point() and tensor.element_size() > 1)
    return NEG if is_wide else None
