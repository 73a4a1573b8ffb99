"""Write the golden checkpoints with the torch of this interpreter.

    python make_golden.py OUT [CASE ...]

Every case becomes OUT/torch-<version>-py<version>/<case>/: the files that
stock torch wrote, untouched, and `expected.json`, which says what they hold
according to torch itself (its unpickled metadata and its torch.load). Nothing
of dcp is used, so that the goldens are an independent witness.

Works with torch 1.12 to 2.15 on CPU; cases that a version cannot write are
skipped and named. Multi-rank cases run two gloo processes on the loopback.
"""

import collections
import ctypes
import inspect
import io
import json
import os
import pickle
import shutil
import sys
import tempfile
import types
import warnings
import zlib
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

warnings.simplefilter("ignore")

try:
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint import default_planner, filesystem
except ImportError:  # torch 1.12, 1.13
    import torch.distributed._shard.checkpoint as dcp
    from torch.distributed._shard.checkpoint import filesystem

    if hasattr(dcp, "DefaultSavePlanner"):
        from torch.distributed._shard.checkpoint import default_planner


def torch_at_least(major, minor):
    return tuple(int(x) for x in torch.__version__.split(".")[:2]) >= (major, minor)


def save(state_dict, path, writer=None, planner=None, no_dist=True):
    """dcp.save under the name and with the arguments that this torch has."""
    writer = writer or filesystem.FileSystemWriter(path)
    if torch_at_least(2, 3):
        keywords = {"storage_writer": writer, "planner": planner, "no_dist": no_dist}
        if "no_dist" not in inspect.signature(dcp.save).parameters:
            keywords.pop("no_dist")  # it then asks torch.distributed
        dcp.save(state_dict, **keywords)
    else:
        dcp.save_state_dict(state_dict, writer, planner=planner, no_dist=no_dist)


# --- cases -------------------------------------------------------------------


def ramp(*sizes, dtype=torch.float32):
    count = 1
    for size in sizes:
        count *= size
    return torch.arange(count, dtype=torch.float32).to(dtype).reshape(sizes)


def case_plain(path):
    save(
        {
            "w": ramp(2, 3),
            "s": torch.tensor(3.5),
            "empty": torch.empty(0, 3),
            "deep": ramp(1, 2, 1, 3, 1, 2, 1),
        },
        path,
    )


def case_every_dtype(path):
    state = {}
    for name in sorted(dir(torch)):
        dtype = getattr(torch, name)
        if not isinstance(dtype, torch.dtype) or str(dtype) != "torch." + name:
            continue
        try:
            raw = torch.arange(1, 97, dtype=torch.uint8)
            state[name] = (
                (torch.arange(6) % 2 == 0) if dtype == torch.bool else raw.view(dtype)
            )
            torch.save(state[name], io.BytesIO())
            torch._utils._element_size(dtype)  # what the planner needs
        except Exception:  # this version cannot save it, or its planner cannot
            state.pop(name, None)
    save(state, path)


def case_strides(path):
    base = ramp(6, 8)
    images = ramp(2, 3, 4, 5)
    state = {
        "transposed": ramp(4, 3).t().contiguous().t(),
        "channels_last": images.to(memory_format=torch.channels_last),
        "expanded": torch.arange(3.0).expand(4, 3),
        "row_view": base[2:4],
        "column_view": base[:, 1:3],
        "permuted": ramp(2, 3, 4).permute(2, 0, 1),
        "size_one_dims": ramp(1, 5, 1).transpose(0, 2),
        "parameter": torch.nn.Parameter(ramp(3, 2)),
        "conj": torch.view_as_complex(ramp(3, 2)).conj(),
        "neg": torch.view_as_complex(ramp(3, 2)).conj().imag,
    }
    save(state, path)


def case_quantized(path):
    value = torch.quantize_per_tensor(ramp(2, 3), 0.5, 3, torch.qint8)
    save({"q": value, "plain": ramp(2)}, path)


class Opaque:
    """A class that only Python can load."""


def objects():
    return {
        "none": None,
        "true": True,
        "false": False,
        "int": 42,
        "negative": -7,
        "int32": 70000,
        "int64": 1 << 40,
        "int64_min": -(1 << 63),
        "int_too_big": 1 << 63,
        "float": 0.1,
        "inf": float("inf"),
        "str": "text",
        "unicode": "gr\u00fc\u00df dich \u2603 \U0001f680",
        "empty_str": "",
        "bytes": bytes(range(256)),
        "empty_bytes": b"",
        "tuple": (1, "a", (2.5, None)),
        "empty_tuple": (),
        "list": [1, 2, [3, "x"]],
        "empty_list": [],
        "long_list": list(range(2500)),
        "tuple_of_dict": ({"a": 1, "b": [True]}, {}),
        "int_keys": ({1: 2},),
        "shared": ([1, 2],) * 2,
        "ordered": (collections.OrderedDict([("z", 1), ("a", 2)]),),
        "set": {1, 2},
        "complex": 1 + 2j,
        "size": torch.Size([2, 3]),
        "dtype": torch.float32,
        "tensor_in_tuple": (ramp(2), 1),
        "opaque": Opaque(),
    }


def case_objects(path):
    save(objects(), path)


def case_nested(path):
    state = {
        "model": {
            "layers": [{"weight": ramp(2, 2)}, {"weight": ramp(2, 2) + 4}],
            "config": {"hidden": 2, "name": "tiny", 3: "int key"},
            "mixed": [1, ramp(3), "text"],
            "tuple": (ramp(1), 2),
        },
        "step": 7,
        "dotted.key": ramp(1),
    }
    save(state, path)


def case_no_flatten(path):
    planner = default_planner.DefaultSavePlanner(
        flatten_state_dict=False, flatten_sharded_tensors=False
    )
    save({"a": ramp(2), "b": {"c": 1, "d": ramp(2)}}, path, planner=planner)


def case_optimizer(path):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    save({"model": model.state_dict(), "optim": optimizer.state_dict()}, path)


def case_two_threads(path):
    writer = filesystem.FileSystemWriter(path, thread_count=2)
    save({f"t{i}": ramp(i + 1) for i in range(5)} | {"o": 1}, path, writer)


def case_file_per_item(path):
    writer = filesystem.FileSystemWriter(path, single_file_per_rank=False)
    save({"a": ramp(2), "b": ramp(3), "o": "x"}, path, writer)


def case_no_crc(path):
    torch.serialization.set_crc32_options(False)
    try:
        save({"a": ramp(5), "o": [1]}, path)
    finally:
        torch.serialization.set_crc32_options(True)


def case_zstd(path):
    from torch.distributed.checkpoint._extension import ZStandard

    writer = filesystem.FileSystemWriter(path, _extensions=[ZStandard()])
    save({"a": ramp(64, 64), "e": torch.empty(0), "o": {"k": 1}}, path, writer)


def case_fsspec(path):
    from torch.distributed.checkpoint._fsspec_filesystem import FsspecWriter

    save({"a": ramp(2), "o": 1}, path, FsspecWriter(path))


def case_absolute_path(path):
    with tempfile.TemporaryDirectory() as scratch:
        # The absolute path goes into the file, so it must be a neutral one.
        target = Path("/tmp/dcp_golden_absolute")
        shutil.rmtree(target, ignore_errors=True)
        save({"a": ramp(2)}, str(target))
        shutil.copytree(target, path)
        shutil.rmtree(target)


def case_many_keys(path):
    """More entries than one SETITEMS holds, a memo beyond 255 entries."""
    save({f"k{i}": None for i in range(1001)}, path)
    for name in os.listdir(path):  # the items are of no interest
        if name.endswith(".distcp"):
            os.remove(os.path.join(path, name))


class EndsOnly:
    """A file that keeps the first and the last bytes that torch.save writes."""

    def __init__(self):
        self.position, self.head, self.tail, self.in_data = 0, b"", b"", False

    def write(self, data):
        self.in_data = self.in_data or len(data) > 1 << 20
        if len(data) <= 1 << 20 and self.in_data:
            self.tail += bytes(data)
        elif not self.in_data:
            self.head += bytes(data)
        self.position += len(data)
        return len(data)

    def flush(self):
        pass


def case_zip64_ends(path):
    """What surrounds 4 GiB of zeros, without the zeros."""
    os.mkdir(path)
    for nbytes in (0xFFFFFFFE, 0xFFFFFFFF, 0x100000000):
        out = EndsOnly()
        torch.save(torch.zeros(nbytes, dtype=torch.uint8), out)
        assert out.position == len(out.head) + nbytes + len(out.tail)
        Path(path, f"{nbytes}.head").write_bytes(out.head)
        Path(path, f"{nbytes}.tail").write_bytes(out.tail)


def case_megatron_like(path):
    """Attributes and classes that Megatron and NVRx add to their metadata."""
    name = "megatron.core.dist_checkpointing.strategies.torch"
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(parts[i - 1]))
    module = sys.modules[name]

    class MCoreSavePlan:
        pass

    class MCoreMetadata(dcp.Metadata):
        pass

    for cls in (MCoreSavePlan, MCoreMetadata):
        cls.__module__, cls.__qualname__ = name, cls.__name__
        setattr(module, cls.__name__, cls)

    class Planner(default_planner.DefaultSavePlanner):
        def create_global_plan(self, all_plans):
            plans, metadata = super().create_global_plan(all_plans)
            extended = MCoreMetadata(**vars(metadata))
            extended.mcore_data = {
                "w": {"nd_reformulated_orig_global_shape": (2, 3), "opaque": Opaque()}
            }
            extended.all_local_plans = all_plans
            plan = MCoreSavePlan()
            plan.items = all_plans[0].items
            extended.extra_plan = plan
            return plans, extended

    save({"w": ramp(2, 3), "o": 1}, path, planner=Planner())


def two_ranks_sharded_tensor(rank, path):
    from torch.distributed._shard import sharded_tensor

    spec_module = __import__(
        "torch.distributed._shard.sharding_spec", fromlist=["ChunkShardingSpec"]
    )
    spec = spec_module.ChunkShardingSpec(
        dim=0, placements=["rank:0/cpu", "rank:1/cpu"]
    )
    tensor = sharded_tensor.rand(spec, 5, 4)
    for shard in tensor.local_shards():
        shard.tensor.fill_(rank + 1)
    save({"st": tensor, "plain": ramp(3)}, path, no_dist=False)


def two_ranks_dtensor(rank, path):
    if torch_at_least(2, 5):
        from torch.distributed.tensor import Replicate, Shard, distribute_tensor
    else:
        from torch.distributed._tensor import Replicate, Shard, distribute_tensor
    if torch_at_least(2, 2):
        from torch.distributed.device_mesh import init_device_mesh

        mesh = init_device_mesh("cpu", (2,))
    else:
        from torch.distributed._tensor import DeviceMesh

        mesh = DeviceMesh("cpu", [0, 1])
    state = {
        "uneven": distribute_tensor(ramp(5, 2), mesh, [Shard(0)]),
        "columns": distribute_tensor(ramp(3, 4), mesh, [Shard(1)]),
        "replicated": distribute_tensor(ramp(2, 2), mesh, [Replicate()]),
        "plain": ramp(2),
        "step": 3,
        f"per_rank_{rank}": ramp(1) + rank,
    }
    if torch_at_least(2, 3):  # before, torch refused a shard without rows
        state["one_row"] = distribute_tensor(ramp(1, 2), mesh, [Shard(0)])
    save(state, path, no_dist=False)


def two_ranks_fsdp2(rank, path):
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (2,))
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 1))
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    model_state, optim_state = get_state_dict(model, optimizer)
    save({"model": model_state, "optim": optim_state}, path, no_dist=False)


def two_ranks_own_metadata(rank, path):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    state = {"d": distribute_tensor(ramp(5, 2), mesh, [Shard(0)]), "o": rank}
    dcp.save(state, checkpoint_id=path, use_collectives=False)


def case_torch_1_12(path):
    """The first format: storage keys, a file an item, no storage_data."""
    if torch_at_least(1, 13):
        raise NotImplementedError("torch 1.12 only")
    with tempfile.TemporaryDirectory() as scratch:
        dist.init_process_group(
            "gloo", init_method=f"file://{scratch}/store", rank=0, world_size=1
        )
        writer = filesystem.FileSystemWriter(path)
        dcp.save_state_dict({"w": ramp(2, 3), "o": 1}, writer)
        dist.destroy_process_group()


SINGLE = [
    case_plain, case_every_dtype, case_strides, case_quantized, case_objects,
    case_nested, case_no_flatten, case_optimizer, case_two_threads,
    case_file_per_item, case_no_crc, case_zstd, case_fsspec,
    case_absolute_path, case_many_keys, case_zip64_ends, case_megatron_like,
    case_torch_1_12,
]
TWO_RANKS = [
    two_ranks_sharded_tensor, two_ranks_dtensor, two_ranks_fsdp2,
    two_ranks_own_metadata,
]


# --- what torch itself says is in them ----------------------------------------


def describe_object(value):
    """JSON of the values that dcp::ObjectValue can hold, else unsupported."""
    kind = type(value)
    if value is None:
        return {"t": "none"}
    if kind is bool:
        return {"t": "bool", "v": value}
    if kind is int and -(1 << 63) <= value < 1 << 63:
        return {"t": "int", "v": str(value)}
    if kind is float:
        return {"t": "float", "v": value.hex()}
    if kind is str:
        return {"t": "str", "v": value}
    if kind is bytes:
        return {"t": "bytes", "v": value.hex()}
    if kind in (list, tuple, torch.Size):
        items = [describe_object(v) for v in value]
        if all(item["t"] != "unsupported" for item in items):
            return {"t": "list" if kind is list else "tuple", "v": items}
    if kind in (dict, collections.OrderedDict) and all(
        type(key) is str for key in value
    ):
        items = [[k, describe_object(v)] for k, v in value.items()]
        if all(item["t"] != "unsupported" for _, item in items):
            return {"t": "dict", "v": items}
    return {"t": "unsupported"}


def row_major_bytes(tensor):
    dense = tensor.detach().contiguous()
    nbytes = dense.numel() * dense.element_size()
    return ctypes.string_at(dense.data_ptr(), nbytes) if nbytes else b""


def describe_tensor(tensor):
    if tensor.is_quantized:
        return {"kind": "torch_only"}
    conj, neg = tensor.is_conj(), tensor.is_neg()
    raw = tensor.detach()
    raw = raw.conj() if conj else raw
    raw = torch._neg_view(raw) if neg else raw
    data = row_major_bytes(raw)
    return {
        "kind": "tensor",
        "dtype": str(tensor.dtype).replace("torch.", ""),
        "sizes": list(tensor.shape),
        "strides": list(tensor.stride()),
        "nbytes": len(data),
        "crc32": zlib.crc32(data),
        "conj": conj,
        "neg": neg,
    }


def describe_item(path, info):
    try:
        stored = Path(path, info.relative_path).read_bytes()
    except FileNotFoundError:
        return {"kind": "absent"}
    stored = stored[info.offset : info.offset + info.length]
    for transform in getattr(info, "transform_descriptors", None) or ():
        assert transform == "stream.zstd/1", transform
        import zstandard

        stored = zstandard.ZstdDecompressor().decompressobj().decompress(stored)
    kwargs = {"weights_only": False} if torch_at_least(2, 0) else {}
    value = torch.load(io.BytesIO(stored), **kwargs)
    if isinstance(value, torch.Tensor):
        return describe_tensor(value)
    return {"kind": "object", "value": describe_object(value)}


def describe_entry(fqn, entry):
    if type(entry).__name__ == "BytesStorageMetadata":
        return {"fqn": fqn, "kind": "bytes"}
    properties = entry.properties
    formats = {
        torch.contiguous_format: 0,
        torch.channels_last: 1,
        torch.preserve_format: 2,
    }
    return {
        "fqn": fqn,
        "kind": "tensor",
        "dtype": str(properties.dtype).replace("torch.", ""),
        "layout": str(properties.layout).replace("torch.", ""),
        "requires_grad": properties.requires_grad,
        "memory_format": formats[properties.memory_format],
        "pin_memory": properties.pin_memory,
        "size": list(entry.size),
        "chunks": [
            {"offsets": list(c.offsets), "sizes": list(c.sizes)} for c in entry.chunks
        ],
    }


STANDARD = {
    "state_dict_metadata", "planner_data", "storage_data", "storage_meta", "version",
}


def describe_metadata(path, name):
    metadata = pickle.loads(Path(path, name).read_bytes())
    meta = getattr(metadata, "storage_meta", None)
    planner_data = metadata.planner_data
    return {
        "entries": [
            describe_entry(k, v) for k, v in metadata.state_dict_metadata.items()
        ],
        "planner_data": planner_data
        if planner_data is None
        else {k: list(v) for k, v in planner_data.items()},
        "storage": [
            {
                "fqn": index.fqn,
                "offset": None if index.offset is None else list(index.offset),
                "index": index.index,
                "path": info.relative_path,
                "byte_offset": info.offset,
                "length": info.length,
                "transforms": list(getattr(info, "transform_descriptors", None) or ()),
                "item": describe_item(path, info),
            }
            for index, info in metadata.storage_data.items()
        ],
        "storage_meta": None
        if meta is None
        else {
            "checkpoint_id": None
            if meta.checkpoint_id is None
            else str(meta.checkpoint_id),
            "save_id": meta.save_id,
            "load_id": meta.load_id,
            "modules": list(getattr(meta, "modules", [])),
        },
        "version": getattr(metadata, "version", None),
        "ignored": sorted(set(vars(metadata)) - STANDARD),
    }


def describe(path):
    names = sorted(p.name for p in Path(path).glob("*.metadata"))
    return {
        "torch": torch.__version__.split("+")[0],
        "python": ".".join(map(str, sys.version_info[:3])),
        "derived": False,
        "metadata": {name: describe_metadata(path, name) for name in names},
    }


def compact(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def write_expected(path):
    """JSON with one line per record: small files, readable diffs."""
    text = compact(describe(path))
    for start in ('{"chunks":', '{"byte_offset":', '{"fqn":'):
        text = text.replace(start, "\n" + start)
    Path(path, "expected.json").write_text(text + "\n")


# --- running ------------------------------------------------------------------


def run_rank(rank, function_name, path, store):
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )
    globals()[function_name](rank, path)
    dist.barrier()
    dist.destroy_process_group()


def run_two_ranks(function, path):
    with tempfile.TemporaryDirectory() as scratch:
        args = (function.__name__, path, os.path.join(scratch, "store"))
        mp.spawn(run_rank, args=args, nprocs=2)


def main():
    out, only = Path(sys.argv[1]), sys.argv[2:]
    version = torch.__version__.split("+")[0]
    folder = out / f"torch-{version}-py{sys.version_info[0]}.{sys.version_info[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)  # relative checkpoint ids: no path of this machine inside
    for function in SINGLE + TWO_RANKS:
        name = function.__name__
        name = name[5:] if name.startswith("case_") else name
        if only and name not in only:
            continue
        shutil.rmtree(name, ignore_errors=True)
        try:
            if function in TWO_RANKS:
                run_two_ranks(function, name)
            else:
                function(name)
            has_metadata = any(Path(name).glob("*.metadata"))
            if has_metadata and torch_at_least(1, 13):
                write_expected(name)
            print("wrote", folder.name, name)
        except BaseException as error:  # CheckpointException is no Exception
            shutil.rmtree(name, ignore_errors=True)
            reason = (str(error).strip().splitlines() or [""])[-1][:200]
            print("skipped", folder.name, name, type(error).__name__, reason)


if __name__ == "__main__":
    main()
