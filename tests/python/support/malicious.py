"""Checkpoints that run code when Python's pickle reads them: each touches a canary file."""

from __future__ import annotations

import dataclasses
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Attack:
    """A file that attacks.

    Attributes:
        name: what it does.
        place: "metadata", "object" or "tensor": what it stands in for.
        content: the bytes.
        must_be_refused: whether a load must fail; else it may leave the attack unread.
    """

    name: str
    place: str
    content: bytes
    must_be_refused: bool = True


def calls(canary: Path) -> dict[str, tuple[str, str, tuple[object, ...]]]:
    """Calls that leave `canary` behind: module, name, arguments."""
    path = str(canary)
    shell = f"touch {path}"
    code = f"open({path!r}, 'w').close()"
    argv = ["touch", path]
    inner = pickle.dumps(_Call(open, path, "w"), protocol=2)
    return {
        "os.system": ("os", "system", (shell,)),
        "posix.system": ("posix", "system", (shell,)),
        "os.popen": ("os", "popen", (shell,)),
        "os.mkdir": ("os", "mkdir", (path,)),
        "posix.mkdir": ("posix", "mkdir", (path,)),
        "os.makedirs": ("os", "makedirs", (path,)),
        "os.symlink": ("os", "symlink", ("/", path)),
        "os.mkfifo": ("os", "mkfifo", (path,)),
        "os.mknod": ("os", "mknod", (path,)),
        "subprocess.call": ("subprocess", "call", (argv,)),
        "subprocess.check_output": ("subprocess", "check_output", (argv,)),
        "subprocess.getoutput": ("subprocess", "getoutput", (shell,)),
        "subprocess.Popen": ("subprocess", "Popen", (argv,)),
        "builtins.exec": ("builtins", "exec", (code,)),
        "builtins.eval": ("builtins", "eval", (code,)),
        "builtins.open": ("builtins", "open", (path, "w")),
        "__builtin__.eval": ("__builtin__", "eval", (code,)),
        "io.open": ("io", "open", (path, "w")),
        "_io.open": ("_io", "open", (path, "w")),
        "io.FileIO": ("io", "FileIO", (path, "w")),
        "shutil.copyfile": ("shutil", "copyfile", ("/etc/hostname", path)),
        "timeit.timeit": ("timeit", "timeit", ("pass", code)),
        "pickle.loads": ("pickle", "loads", (inner,)),
        "_pickle.loads": ("_pickle", "loads", (inner,)),
        "multiprocessing": ("multiprocessing.util", "spawnv_passfds", (b"/bin/touch", argv, [])),
        # Of modules that are nobody's weapon: refused, or left unread.
        "cProfile.run": ("cProfile", "run", (code,)),
        "logging.FileHandler": ("logging", "FileHandler", (path,)),
        "zipfile.ZipFile": ("zipfile", "ZipFile", (path, "w")),
        "sqlite3.connect": ("sqlite3", "connect", (path,)),
        "torch.save": ("torch", "save", (1, path)),
        "numpy.save": ("numpy", "save", (path, 1)),
        "pdb.run": ("bdb", "Bdb.run", (code,)),
    }


def is_a_weapon(module: str) -> bool:
    """Whether the name alone makes libdcp refuse a file, wherever in it it stands."""
    return module not in {"cProfile", "logging", "zipfile", "sqlite3", "torch", "numpy", "bdb"}


class _Call:
    """Pickles into a call of `function`."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self._call = (function, args)

    def __reduce__(self) -> tuple[object, ...]:
        return self._call


def _body(value: object, protocol: int = 4) -> bytes:
    """The opcodes that push a plain value."""
    data = pickle.dumps(value, protocol)
    body = data[2:-1]
    return body[9:] if protocol >= 4 and body[:1] == b"\x95" else body


def _unicode(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _plain(value: object) -> bytes:
    """As _body, without the memo, so that it can stand anywhere."""
    if isinstance(value, str):
        return _unicode(value)
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    assert isinstance(value, (list, tuple))
    parts = b"".join(_plain(item) for item in value)
    return b"(" + parts + (b"l" if isinstance(value, list) else b"t")


def expressions(module: str, name: str, args: tuple[object, ...]) -> dict[str, bytes]:
    """Opcodes that call `module.name(*args)` and leave the result on the stack."""
    arguments = _plain(args)
    by_line = b"c" + f"{module}\n{name}\n".encode()
    by_stack = _unicode(module) + _unicode(name) + b"\x93"
    items = b"".join(_plain(item) for item in args)
    return {
        "STACK_GLOBAL": by_stack + arguments + b"R",
        "GLOBAL": by_line + arguments + b"R",
        "INST": b"(" + items + b"i" + f"{module}\n{name}\n".encode(),
        "OBJ": b"(" + by_line + items + b"o",
        "NEWOBJ": by_stack + arguments + b"\x81",
        "NEWOBJ_EX": by_stack + arguments + b"}" + b"\x92",
        "through the memo": by_stack + b"q\xc8" + b"0" + b"h\xc8" + arguments + b"R",
        "twice on the stack": by_stack + b"2" + b"0" + arguments + b"R",
        "through getattr": (
            b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n("
            + _unicode(module)
            + b"tR"
            + _unicode(name)
            + b"tR"
            + arguments
            + b"R"
        ),
        "through a dotted name": (
            _unicode(module) + _unicode(f"{name}.__call__") + b"\x93" + arguments + b"R"
        ),
        "below a mark": b"(" + by_stack + arguments + b"R" + b"N1" + b"N",
    }


def _inside_metadata(expression: bytes, good: bytes) -> dict[str, bytes]:
    """`expression` at every kind of place in good metadata of protocol 4."""
    start = good.index(b"\x95") + 9  # behind PROTO and FRAME
    head, body = b"\x80\x04", good[start:]
    empty = _empty_metadata(b"}")
    return {
        "alone": head + expression + b".",
        "before the real one": head + expression + b"0" + body,
        "as the whole's key": head + _empty_metadata(b"}" + expression + b"Ns") + b".",
        "as an entry": head + _empty_metadata(b"}" + _unicode("w") + expression + b"s") + b".",
        "in planner_data": head + _empty_metadata(b"}", planner=expression) + b".",
        "in storage_data": head + _empty_metadata(b"}", storage=expression) + b".",
        "as the whole's state": (
            head + b"ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81" + expression + b"b."
        ),
        "as a class": head + expression + b")\x81}b.",
        "after the real one": good + head + expression + b".",
        "as an ignored attribute": head + empty[:-1] + _unicode("x") + expression + b"s" + b"b.",
    }


def _empty_metadata(entries: bytes, planner: bytes = b"N", storage: bytes = b"N") -> bytes:
    return (
        b"ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81}"
        + _unicode("state_dict_metadata")
        + entries
        + b"s"
        + _unicode("planner_data")
        + planner
        + b"s"
        + _unicode("storage_data")
        + storage
        + b"s"
        + b"b"
    )


def _archive(data_pkl: bytes) -> bytes:
    """What torch.save makes, around another pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", bytes(24))
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


def _in_a_tensor(expression: bytes) -> dict[str, bytes]:
    rebuild = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
    kind = _unicode("storage") + b"ctorch\nFloatStorage\n"
    storage = b"((" + kind + _unicode("0") + _unicode("cpu") + b"K\x06tQ"
    rest = b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89"
    return {
        "as the tensor": b"\x80\x02" + expression + b".",
        "as its storage": rebuild + expression + rest + b"ccollections\nOrderedDict\n)RtR.",
        "as its hooks": rebuild + storage + rest + expression + b"tR.",
        "before it": b"\x80\x02"
        + expression
        + b"0"
        + rebuild[2:]
        + storage
        + rest
        + b"ccollections\nOrderedDict\n)RtR.",
    }


def corpus(canary: Path, good_metadata: bytes) -> Iterator[Attack]:
    """All attacks; each would leave `canary` behind."""
    for name, (module, attribute, args) in calls(canary).items():
        ways = expressions(module, attribute, args)
        plain = {"called": ways["STACK_GLOBAL"]}
        for way, expression in (ways if name == "os.system" else plain).items():
            for place, content in _inside_metadata(expression, good_metadata).items():
                unread = place in {"in planner_data", "as an ignored attribute"}
                refused = is_a_weapon(module) or not unread
                yield Attack(f"{name}, {way}, {place}", "metadata", content, refused)
        for way in ("STACK_GLOBAL", "GLOBAL", "INST", "through getattr"):
            content = _archive(b"\x80\x02" + ways[way] + b".")
            yield Attack(f"{name}, {way}, as an object", "object", content)
        for place, data in _in_a_tensor(ways["STACK_GLOBAL"]).items():
            yield Attack(f"{name}, {place}", "tensor", _archive(data))
