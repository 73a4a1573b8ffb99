"""TorchTitan 0.3.0 trains without CUDA once this is imported; before torchtitan is.

Nothing that saves or loads is altered but two options of torch's stager: copies that do not
block and pinned memory need an accelerator there.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from typing import Any

import torch
import torch._utils
import torch.distributed as dist
import torch.distributed.checkpoint.staging as torch_staging
import torch.distributed.fsdp._fully_shard._fsdp_collectives as fsdp_collectives
import torch.nn.functional as F


class _Properties:
    """What TorchTitan's monitor of device memory reads."""

    name = "cpu"
    total_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _pretend_to_have_a_device() -> None:
    torch._utils._get_available_device_type = lambda: "cpu"
    functions: dict[str, Any] = {
        "get_device_name": lambda *_a, **_k: "cpu",
        "get_device_properties": lambda *_a, **_k: _Properties,
        "reset_peak_memory_stats": lambda *_a, **_k: None,
        "empty_cache": lambda *_a, **_k: None,
        "memory_stats": lambda *_a, **_k: {},
        "memory_reserved": lambda *_a, **_k: 0,
    }
    for name, function in functions.items():
        if not hasattr(torch.cpu, name):
            setattr(torch.cpu, name, function)


def _teach_gloo() -> None:
    """It takes no `device_ids`, has no timeouts to set, and no PREMUL_SUM."""
    barrier = dist.barrier
    dist.barrier = lambda group=None, async_op=False, device_ids=None: barrier(
        group=group, async_op=async_op
    )
    if not hasattr(dist, "set_timeout"):
        dist.set_timeout = lambda timeout, group=None: dist.distributed_c10d._set_pg_timeout(
            timeout, group
        )
    factors = fsdp_collectives._get_gradient_divide_factors

    def plain_sums(
        scatter: Any,
        reduce: Any,
        dtype: torch.dtype,
        device_type: str = "",
        factor: float | None = None,
        force_sum_reduction_for_comms: bool = False,
    ) -> Any:
        return factors(scatter, reduce, dtype, device_type, factor, True)

    fsdp_collectives._get_gradient_divide_factors = plain_sums


def _do_without_triton() -> None:
    kernels = types.ModuleType("torchtitan.distributed.minimal_async_ep.kernels")
    kernels.__path__ = []
    kernels.__getattr__ = _find_kernel  # type: ignore[method-assign]
    sys.modules[kernels.__name__] = kernels


def _find_kernel(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _no_kernel


def _no_kernel(*_arguments: Any, **_options: Any) -> None:
    raise RuntimeError("a Triton kernel was called on a CPU")


def _options_without_accelerator(**options: Any) -> Any:
    options |= {"use_non_blocking_copy": False, "use_pinned_memory": False}
    return torch_staging.StagingOptions(**options)


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    block_mask: Any = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    **_options: Any,
) -> tuple[torch.Tensor, None]:
    """FlexAttention has no backward on a CPU: the same mask through plain attention."""
    from torch.nn.attention.flex_attention import create_mask

    length = query.shape[-2]
    mask = create_mask(block_mask.mask_mod, 1, 1, length, key.shape[-2], device="cpu")
    attended = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale, enable_gqa=enable_gqa
    )
    return attended, None


_pretend_to_have_a_device()
_teach_gloo()
_do_without_triton()


def adapt_torchtitan() -> None:
    """What can only be replaced once torchtitan is there."""
    attention = importlib.import_module("torchtitan.models.common.attention")
    attention.FlexAttention._compiled_flex_attn = staticmethod(_attend)
    checkpointer = importlib.import_module("torchtitan.components.checkpointer.dcp")
    checkpointer.StagingOptions = _options_without_accelerator


__all__ = ["adapt_torchtitan"]
