"""An unpickler of plain data: torch's weights-only one and, beyond it, more containers.

torch 2.13's `torch._weights_only_unpickler` appends to `list` and sets items of `dict`,
`OrderedDict` and `Counter` only, so that a deque or defaultdict with something in it is
refused whatever is registered as safe. This one keeps its rules: a global comes from the
lists of torch, of `torch.serialization.safe_globals` and of `_harmless`, which is our own,
because what is registered with torch counts for the whole process; only such a global is
called, and only an instance of such a class is given a state. Opcodes that it does not need
are unknown to it.
"""

from __future__ import annotations

import _compat_pickle
import collections
import io
import pickle
import pickletools
import struct
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import _weights_only_unpickler as torch_unpickler

from dcpcpp._harmless import harmless_globals

_APPENDABLE = (list, collections.deque)
_SETTABLE = (dict, collections.OrderedDict, collections.Counter, collections.defaultdict)

_OPCODES = {
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.NEWOBJ, pickle.REDUCE),
    *(pickle.BUILD, pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.EMPTY_TUPLE),
    *(pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_SET, pickle.NONE, pickle.NEWTRUE),
    *(pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.LONG4),
    *(pickle.BINFLOAT, pickle.BINUNICODE, pickle.SHORT_BINSTRING, pickle.BINPERSID),
    *(pickle.BINGET, pickle.LONG_BINGET, pickle.BINPUT, pickle.LONG_BINPUT),
}


def load(data: bytes) -> Any:
    """The object in `data`, a zip file of `torch.save`.

    Raises:
        pickle.UnpicklingError: it is not plain data, or not such a file.
    """
    this: Any = types.SimpleNamespace(Unpickler=_PlainUnpickler, __name__=__name__)
    try:
        # TorchScript, which torch.load would hand to torch.jit.load.
        if "constants.pkl" in torch._C.PyTorchFileReader(io.BytesIO(data)).get_all_records():
            raise pickle.UnpicklingError("it is TorchScript")
        return torch.load(io.BytesIO(data), pickle_module=this, weights_only=False)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # an unknown opcode, or a class that dislikes its arguments
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error


def foreign_globals(data: bytes) -> list[str]:
    """The names in `data`, a `torch.save`, that are on no list; in their order.

    Nothing is imported or called.
    """
    stream = io.BytesIO(data)
    reader: Any = torch._C.PyTorchFileReader(io.BytesIO(data))
    stream.seek(reader.get_record_offset("data.pkl"))
    allowed = _allowed_globals()
    names = (_full_name(*name.split(" ", 1)) for name in _globals(stream))
    return [name for name in names if name not in allowed]


_ARGUMENTS = {opcode.code.encode("latin-1"): opcode.arg for opcode in pickletools.opcodes}
_LENGTHS = {  # of the arguments that may be large, as they lie before them
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}


def _globals(stream: io.BytesIO) -> Iterator[str]:
    """Yield "module name" of each GLOBAL in the pickle at the position of `stream`.

    `pickletools.genops` would copy what may be gigabytes: texts, and bytes as protocol 2 has
    them.
    """
    while (code := stream.read(1)) != pickle.STOP:
        argument = _ARGUMENTS[code]
        layout = None if argument is None else _LENGTHS.get(argument.n)
        if layout is not None:
            (nbytes,) = struct.unpack(layout, stream.read(struct.calcsize(layout)))
            stream.seek(nbytes, io.SEEK_CUR)
        elif argument is not None:
            value = argument.reader(stream)
            if code == pickle.GLOBAL:
                yield value


def _full_name(module: str, name: str) -> str:
    """Under today's names of what Python 2 called otherwise."""
    module, name = _compat_pickle.NAME_MAPPING.get(
        (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
    )
    return f"{module}.{name}"


def _allowed_globals() -> dict[str, Any]:
    lists: Any = torch_unpickler
    return {
        **harmless_globals(),
        **lists._get_allowed_globals(),
        **lists._get_user_allowed_globals(),
    }


_Opcode = Callable[[Any], None]
_base: Any = pickle._Unpickler  # the one in Python: it has a table of opcodes


class _PlainUnpickler(_base):  # type: ignore[misc]  # of class Any
    dispatch: dict[int, _Opcode] = {  # noqa: RUF012  # as in its base class
        opcode[0]: _base.dispatch[opcode[0]] for opcode in _OPCODES
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._allowed = _allowed_globals()
        self._callable = {id(value) for value in self._allowed.values()}

    def find_class(self, module: str, name: str) -> Any:
        full_name = _full_name(module, name)
        if full_name not in self._allowed:
            raise pickle.UnpicklingError(
                f"Unsupported global: GLOBAL {full_name} was not an allowed global"
            )
        return self._allowed[full_name]

    def require_allowed(self, function: Any) -> None:
        """Refuse to call what is not on the lists."""
        if id(function) not in self._callable:
            raise pickle.UnpicklingError(f"it calls {function!r}")


def _guarded(opcode: bytes, check: Callable[[Any], None]) -> None:
    """Run `check` on the unpickler before it carries out `opcode`."""
    carry_out = _PlainUnpickler.dispatch[opcode[0]]

    def load(unpickler: Any) -> None:
        check(unpickler)
        carry_out(unpickler)

    _PlainUnpickler.dispatch[opcode[0]] = load


def _check_call(unpickler: Any) -> None:
    unpickler.require_allowed(unpickler.stack[-2])  # below its arguments


def _check_state(unpickler: Any) -> None:
    kind = type(unpickler.stack[-2])  # below its state
    unpickler.require_allowed(kind)
    if issubclass(kind, torch.Tensor):
        raise pickle.UnpicklingError(f"it sets the state of a {kind}")


def _checked_container(depth: int, kinds: tuple[type, ...]) -> Callable[[Any], None]:
    """Checks the container `depth` places below the top; 0: below the last mark."""

    def check(unpickler: Any) -> None:
        container = unpickler.stack[-depth] if depth else unpickler.metastack[-1][-1]
        if type(container) not in kinds:
            raise pickle.UnpicklingError(f"it adds to a {type(container)}")

    return check


_guarded(pickle.REDUCE, _check_call)
_guarded(pickle.NEWOBJ, _check_call)
_guarded(pickle.BUILD, _check_state)
_guarded(pickle.APPEND, _checked_container(2, _APPENDABLE))
_guarded(pickle.APPENDS, _checked_container(0, _APPENDABLE))
_guarded(pickle.SETITEM, _checked_container(3, _SETTABLE))
_guarded(pickle.SETITEMS, _checked_container(0, _SETTABLE))
