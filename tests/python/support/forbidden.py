"""Source of programs in which system calls fail, as under the seccomp filter of a container.

run_python(FORBID + "forbid(IO_URING_SETUP, fails_with(1))\\n...")
"""

from __future__ import annotations

FORBID = """
import ctypes, os, struct

IO_URING_SETUP = 425
# execve and execveat.
EXEC = {"x86_64": (59, 322), "aarch64": (221, 281)}.get(os.uname().machine, ())
KILL = 0x80000000  # of the process

def fails_with(error):
    return 0x50000 | error

def forbid(number, action):
    "The system call, from now on, in this process and those that it starts."
    load, jump, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0), (jump, 0, 1, number), (give, 0, 0, action), (give, 0, 0, 0x7FFF0000)]
    filters = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(filters)
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
"""
