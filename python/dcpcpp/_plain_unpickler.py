"""An unpickler of plain data: what torch's weights-only one reads, and more containers.

torch 2.13's `torch._weights_only_unpickler` appends to `list` and sets items of `dict`,
`OrderedDict` and `Counter` only, so that a deque or defaultdict with something in it is
refused whatever is registered as safe; and it calls what is listed with whatever a file
says: `torch.Size(bytearray(10**9))`, or numpy's `__setstate__` once somebody registered it.
So this one decodes all objects. A global comes from the lists of torch, of
`torch.serialization.safe_globals` and of `_harmless`, which is our own, because what is
registered with torch counts for the whole process. Of torch's list and ours only `calls`
are called, with arguments that pickle writes; what the user registered is called as it is,
unless it is on those lists, too. Opcodes that it does not need are unknown to it.
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

from dcpcpp import _harmless, _harmless_torch
from dcpcpp._budget import Budget
from dcpcpp._harmless import harmless_globals
from dcpcpp._harmless_numpy import is_numpys
from dcpcpp._pending import Pending

_APPENDABLE = (list, collections.deque)
_SETTABLE = (dict, collections.OrderedDict, collections.Counter, collections.defaultdict)
_MAX_MARKS = 1000  # Python's own pickler ends before

# Those that the base class carries out; the others are below.
_PLAIN_OPCODES = {
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.GLOBAL, pickle.STACK_GLOBAL),
    *(pickle.EMPTY_TUPLE, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_SET),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BINFLOAT),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.LONG4),
    *(pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8, pickle.SHORT_BINSTRING),
    *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8, pickle.POP, pickle.POP_MARK),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE),
}


def load(data: bytes) -> Any:
    """The object in `data`, a zip file of `torch.save`.

    Raises:
        pickle.UnpicklingError: it is not plain data, or not such a file.
    """
    try:
        archive = torch._C.PyTorchFileReader(io.BytesIO(data))
        # TorchScript, which torch.load would hand to torch.jit.load.
        if "constants.pkl" in archive.get_all_records():
            raise pickle.UnpicklingError("it is TorchScript")
        sizes = {"size_of_record": staticmethod(_harmless_torch.record_sizes(archive, data))}
        unpickler: Any = type("Unpickler", (_PlainUnpickler,), sizes)  # torch.load derives from it
        this: Any = types.SimpleNamespace(Unpickler=unpickler, __name__=__name__)
        try:
            return torch.load(io.BytesIO(data), pickle_module=this, weights_only=False)
        finally:
            del unpickler.size_of_record  # the class lives until a garbage collector comes round
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a class that dislikes its arguments
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


class _Opcodes(dict[int, _Opcode]):
    def __missing__(self, opcode: int) -> _Opcode:
        raise pickle.UnpicklingError(f"its opcode {bytes([opcode])!r} is not needed for plain data")


class _PlainUnpickler(_base):  # type: ignore[misc]  # of class Any
    dispatch = _Opcodes({opcode[0]: _base.dispatch[opcode[0]] for opcode in _PLAIN_OPCODES})
    size_of_record: Callable[[str], int]  # of the archive

    def __init__(self, file: io.BytesIO, **arguments: Any) -> None:
        super().__init__(file, **arguments)
        self._allowed = _allowed_globals()
        known = {**torch_unpickler._get_allowed_globals(), **harmless_globals()}
        self._known = {id(value) for value in known.values()}
        self._registered = {id(value) for value in self._allowed.values()} - self._known
        self._calls = {id(function): call for function, call in _harmless.calls().items()}
        self.budget = Budget(self.size_of_record("data.pkl"))
        self._pending = 0

    def load(self) -> Any:
        value = super().load()
        if self._pending:
            raise pickle.UnpicklingError("it holds an array or dtype of numpy without its state")
        return value

    def find_class(self, module: str, name: str) -> Any:
        full_name = _full_name(module, name)
        if full_name not in self._allowed:
            raise pickle.UnpicklingError(
                f"Unsupported global: GLOBAL {full_name} was not an allowed global"
            )
        return self._allowed[full_name]

    def reduce(self) -> None:
        """Call a function, as `_harmless.calls` says."""
        arguments = self._pop_arguments()
        function = self.stack[-1]
        call = self._calls.get(id(function))
        if call is not None:
            self.budget.charge_arguments(arguments)
            with _harmless.named(function):
                made = call(self.budget, arguments)
            self._pending += type(made) is Pending
        elif id(function) in self._registered:
            made = function(*arguments)
        else:
            raise _harmless.unusual(function, arguments)
        self.stack[-1] = made

    def new(self) -> None:
        """Make an instance without `__init__`."""
        arguments = self._pop_arguments()
        kind = self.stack[-1]
        if id(kind) in self._registered and isinstance(kind, type):
            self.stack[-1] = kind.__new__(kind, *arguments)
        else:
            self.stack[-1] = _harmless.make_new(kind, arguments)

    def _pop_arguments(self) -> tuple[Any, ...]:
        arguments = self.stack.pop()
        if type(arguments) is not tuple:
            raise pickle.UnpicklingError(f"it calls with a {type(arguments)} for arguments")
        return arguments

    def build(self) -> None:
        """Give the instance below the top a state."""
        instance = self.stack[-2]
        kind = type(instance)
        if kind is Pending:
            self._pending -= 1
            with _harmless.named(instance):
                self.stack[-2:] = [instance.make(self.stack[-1])]
        elif id(kind) not in self._registered:
            _harmless.set_state(instance, self.stack.pop())
        elif issubclass(kind, torch.Tensor) or is_numpys(kind):
            raise pickle.UnpicklingError(f"it sets the state of a {kind}")
        else:
            _base.dispatch[pickle.BUILD[0]](self)

    def recall(self, number: int) -> None:
        """Push what was memorized."""
        value = self.memo[number]
        if type(value) is Pending:
            if not value.is_made:
                raise pickle.UnpicklingError(f"it uses a {value.name} before its state")
            value = value.value
        self.append(value)

    def mark(self) -> None:
        """Begin a row of items."""
        if len(self.metastack) >= _MAX_MARKS:
            raise pickle.UnpicklingError(f"it is nested more than {_MAX_MARKS} deep")
        _base.dispatch[pickle.MARK[0]](self)

    def storage(self) -> None:
        """Push the storage that the top of the stack names."""
        _harmless_torch.check_storage(self.stack[-1], self.size_of_record)
        _base.dispatch[pickle.BINPERSID[0]](self)

    def add_items(self) -> None:
        """Add to a set."""
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise pickle.UnpicklingError(f"it adds to a {type(self.stack[-1])}")
        self.budget.check_keys(self.stack[-1], items)
        self.stack[-1].update(items)

    def bytearray8(self) -> None:
        """Push a bytearray: not larger than what is there."""
        nbytes = int.from_bytes(self.read(8), "little")
        if nbytes > self.budget.nbytes:
            raise EOFError
        self.append(bytearray(self.read(nbytes)))


def _tuple(opcode: bytes) -> _Opcode:
    carry_out = _base.dispatch[opcode[0]]

    def load(unpickler: Any) -> None:
        carry_out(unpickler)
        unpickler.budget.note_tuple(unpickler.stack[-1])

    return load


def _adding(opcode: bytes, depth: int, kinds: tuple[type, ...]) -> _Opcode:
    """Adds to the container `depth` places below the top; 0: below the last mark."""
    carry_out = _base.dispatch[opcode[0]]

    def load(unpickler: Any) -> None:
        container = unpickler.stack[-depth] if depth else unpickler.metastack[-1][-1]
        if type(container) not in kinds:
            raise pickle.UnpicklingError(f"it adds to a {type(container)}")
        if kinds is _SETTABLE:
            keys = unpickler.stack[1 - depth :: 2] if depth else unpickler.stack[::2]
            unpickler.budget.check_keys(container, keys)
        carry_out(unpickler)

    return load


def _frozenset(unpickler: Any) -> None:
    items = unpickler.pop_mark()
    unpickler.append(frozenset(_harmless.make_set(unpickler.budget, items)))


_GUARDED: dict[bytes, _Opcode] = {
    pickle.REDUCE: _PlainUnpickler.reduce,
    pickle.NEWOBJ: _PlainUnpickler.new,
    pickle.BUILD: _PlainUnpickler.build,
    pickle.BINGET: lambda unpickler: unpickler.recall(unpickler.read(1)[0]),
    pickle.LONG_BINGET: lambda unpickler: unpickler.recall(
        int.from_bytes(unpickler.read(4), "little")
    ),
    pickle.MARK: _PlainUnpickler.mark,
    pickle.BINPERSID: _PlainUnpickler.storage,
    pickle.ADDITEMS: _PlainUnpickler.add_items,
    pickle.FROZENSET: _frozenset,
    pickle.BYTEARRAY8: _PlainUnpickler.bytearray8,
    **{op: _tuple(op) for op in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)},
    pickle.APPEND: _adding(pickle.APPEND, 2, _APPENDABLE),
    pickle.APPENDS: _adding(pickle.APPENDS, 0, _APPENDABLE),
    pickle.SETITEM: _adding(pickle.SETITEM, 3, _SETTABLE),
    pickle.SETITEMS: _adding(pickle.SETITEMS, 0, _SETTABLE),
}
_PlainUnpickler.dispatch.update({opcode[0]: load for opcode, load in _GUARDED.items()})
