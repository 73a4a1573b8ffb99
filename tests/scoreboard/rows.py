"""The rows of the reliability scoreboard, and the tests that show them."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: as in the tests' tags and marks.
        part: of `make test-deep` that runs it.
        title: what is tried.
        target: what must hold.
        programs: C++ test programs with test cases that have the tag [name].
        fuzzers: fuzz programs, and how many inputs each gets.
        python: files of Python tests that have the mark row(name).
        scripts: Python programs that try and report by themselves.
    """

    name: str
    part: str
    title: str
    target: str
    programs: tuple[str, ...] = ()
    fuzzers: tuple[tuple[str, int], ...] = ()
    python: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()


ROWS: tuple[Row, ...] = (
    Row(
        "R1",
        "kills",
        "the process ends at a system call",
        "every call, before and after: old or new",
        programs=("dcp_reliability_test",),
    ),
    Row(
        "R2",
        "random-kills",
        "kill -9 at a random moment",
        "kills in flight, 10,000 of native saves, 8,000 of async ones, 10,000 of safetensors: "
        "old or new",
        programs=("dcp_reliability_test",),
        python=("tests/python/test_random_kills.py",),
    ),
    Row(
        "R3",
        "ranks",
        "kill -9 of all ranks, or of one, at a random moment",
        "2,000 kills in flight on 2 to 4 ranks, of each format: old or new, the next save works",
        python=("tests/python/test_random_kills.py",),
    ),
    Row(
        "R4",
        "power",
        "simulated power cut; any unsynced writes and names may be lost",
        "100,000 disks of each format: old or new, and new once the save has returned",
        programs=("dcp_checkpoint_test",),
    ),
    Row(
        "R5",
        "power-cuts",
        "power cut of a real ext4",
        "200 after and 200 during a save, of each format: nothing that was reported is lost",
        programs=("dcp_reliability_test",),
    ),
    Row(
        "R6",
        "errors",
        "system calls fail",
        "every call x errno, once and always: no false OK, no hang, no vague error, old kept",
        programs=("dcp_reliability_test",),
    ),
    Row(
        "R7",
        "errors",
        "memory, mappings and threads are refused",
        "every request once: no crash, nothing lost or leaked, the next save works",
        programs=("dcp_allocation_test",),
        python=("tests/python/test_out_of_memory.py",),
    ),
    Row(
        "R8",
        "errors",
        "full disk",
        "old kept, nothing left, the message says what is needed and free",
        programs=("dcp_reliability_test",),
        python=("tests/python/test_full_disk_of_one_worker.py",),
    ),
    Row(
        "R9",
        "integrity",
        "one bit of any file flipped",
        "10,000 of ours and of stock torch's, of each format: none unnoticed; tensor, file and "
        "offset named. What tensors hold in safetensors of others has no checksum",
        python=("tests/python/test_bit_flips.py",),
    ),
    Row(
        "R10",
        "integrity",
        "files cut, zeroed, lost, swapped or longer",
        "5,000 of each format: none unnoticed, but zeros in tensors of others' safetensors",
        python=("tests/python/test_torn_files.py",),
    ),
    Row(
        "R11",
        "integrity",
        "files of another step, run or rank",
        "500 of each format: none unnoticed",
        python=("tests/python/test_torn_files.py",),
    ),
    Row(
        "R12",
        "ranks",
        "concurrent writers",
        "1,000 races, of each format: one wins whole, the others get CheckpointBusyError",
        programs=("dcp_checkpoint_test",),
    ),
    Row(
        "R13",
        "lost-ranks",
        "a rank dies",
        "200 in all phases: the others raise within 1 s and name rank, host and phase; old kept",
        python=("tests/python/test_killed_ranks.py", "tests/python/test_lost_savers.py"),
    ),
    Row(
        "R14",
        "lost-ranks",
        "a rank hangs",
        "60 in all phases: all raise at the deadline + 1 s and name it; then the next save works",
        python=("tests/python/test_hung_ranks.py", "tests/python/test_lost_savers.py"),
    ),
    Row(
        "R15",
        "errors",
        "storage that hangs",
        "each call of a save: an error at the deadline + 1 s on every rank, the old one kept; "
        "async saves keep the training for 100 ms at most",
        programs=("dcp_reliability_test",),
        python=("tests/python/test_storage_timeout.py",),
    ),
    Row(
        "R16",
        "background",
        "an async save that fails while nobody looks",
        "all kinds of failures: logged within 1 s, raised on every rank by the next save, wait, "
        "flush or close",
        python=("tests/python/test_unseen_errors.py",),
    ),
    Row(
        "R17",
        "background",
        "retention beside saves, kills, roll-backs and pins",
        "100,000 runs beside a model: what should stay stays whole, the last one too",
        programs=("dcp_manager_test",),
    ),
    Row(
        "R18",
        "background",
        "SIGTERM beside an async save",
        "1,000: done within the time of grace, or old or new; the next save works",
        python=("tests/python/test_sigterm.py",),
    ),
    Row(
        "R19",
        "fuzz",
        "parsers on mutated inputs, with ASan and UBSan",
        "1,000,000 each, 200,000 of whole checkpoints: no fault, at most 1 s and 64 MiB + 8 times "
        "the input",
        fuzzers=(
            ("fuzz_checkpoint", 200_000),
            ("fuzz_file_names", 1_000_000),
            ("fuzz_hugging_face", 200_000),
            ("fuzz_index_message", 1_000_000),
            ("fuzz_indexed_metadata", 1_000_000),
            ("fuzz_lease", 1_000_000),
            ("fuzz_mapped_plan", 1_000_000),
            ("fuzz_mapping", 1_000_000),
            ("fuzz_metadata", 1_000_000),
            ("fuzz_nccl_header", 1_000_000),
            ("fuzz_object_item", 1_000_000),
            ("fuzz_peer_messages", 1_000_000),
            ("fuzz_pickle", 1_000_000),
            ("fuzz_plan_message", 1_000_000),
            ("fuzz_planning_messages", 1_000_000),
            ("fuzz_pool_messages", 1_000_000),
            ("fuzz_rank_message", 1_000_000),
            ("fuzz_rank_notes", 1_000_000),
            ("fuzz_replaced_list", 1_000_000),
            ("fuzz_safetensors_header", 1_000_000),
            ("fuzz_safetensors_index", 1_000_000),
            ("fuzz_safetensors_sharding", 1_000_000),
            ("fuzz_save_answer", 1_000_000),
            ("fuzz_save_order", 1_000_000),
            ("fuzz_save_plan", 1_000_000),
            ("fuzz_shared_files", 1_000_000),
            ("fuzz_sidecar", 1_000_000),
            ("fuzz_storage_notes", 1_000_000),
            ("fuzz_torch_file", 1_000_000),
            ("fuzz_torch_item", 1_000_000),
            ("fuzz_write_outcome", 1_000_000),
            ("fuzz_zstd", 1_000_000),
        ),
        python=("tests/python/test_hostile_objects.py",),
    ),
    Row(
        "R20",
        "hostile",
        "pickles, archives and headers beside CPython's pickle and zipfile, and safetensors",
        "10, 5 and 2 million: we read what they read, or refuse for a listed reason",
        python=(
            "tests/python/test_pickle_differential.py",
            "tests/python/test_safetensors_differential.py",
            "tests/python/test_zip_differential.py",
        ),
    ),
    Row(
        "R21",
        "hostile",
        "pickles that run code",
        "200 files: nothing is run",
        python=("tests/python/test_malicious_corpus.py",),
    ),
    Row(
        "R22",
        "hostile",
        "names, links and special files",
        "100 of each format: nothing outside of the directory is read or written, nothing hangs",
        python=("tests/python/test_path_corpus.py",),
    ),
    Row(
        "R23",
        "hostile",
        "small files that ask for much",
        "30: each refused within 100 ms and 64 MiB",
        python=("tests/python/test_bombs.py", "tests/python/test_hostile_objects.py"),
    ),
    Row(
        "R24",
        "sanitizers",
        "all C++ tests with sanitizers",
        "ASan with UBSan, and TSan: no report, no suppression",
        scripts=("tests/scoreboard/sanitizers.py",),
    ),
    Row(
        "R25",
        "io",
        "io_uring, openat2, direct I/O or locked memory forbidden",
        "the same bytes, the same results, one line in the log",
        programs=("dcp_io_test", "dcp_io_restricted_test", "dcp_restricted_saves_test"),
        python=("tests/python/test_io_fallback.py",),
    ),
    Row(
        "R26",
        "io",
        "short, refused and reordered transfers",
        "10,000 schedules: the bytes are identical",
        programs=("dcp_io_test",),
    ),
    Row(
        "R27",
        "background",
        "fork beside an async save",
        "500: the parent's checkpoint is right, the child works or gets a clear error",
        python=("tests/python/test_fork_safety.py",),
    ),
    Row(
        "R28",
        "simulated",
        "simulated ranks and network",
        "100,000 seeds: a save that returned OK is there, and the next save works",
        programs=("dcp_reliability_test",),
    ),
    Row(
        "R29",
        "ranks",
        "1,000 saves in one job",
        "open files, threads and keys constant, memory within 5 %",
        python=("tests/python/test_soak.py",),
    ),
)

PARTS: tuple[str, ...] = tuple(dict.fromkeys(row.part for row in ROWS))
