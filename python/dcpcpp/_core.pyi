"""
libdcp: the C++ core of dcpcpp. Private; use dcpcpp.
"""
from __future__ import annotations
import collections.abc
import typing
__all__: list[str] = ['Checkpoint', 'CheckpointDescription', 'CheckpointDifference', 'CheckpointIndex', 'CheckpointLayout', 'CheckpointManager', 'ConvertPaths', 'ConvertResult', 'CopyResult', 'Damage', 'DescribedFile', 'DescribedObject', 'DescribedTensor', 'DeviceCopying', 'DeviceMesh', 'FileLayout', 'FileNotCopied', 'FileSystem', 'FileSystemReader', 'FileSystemReaderOptions', 'FileSystemWriter', 'FileSystemWriterOptions', 'FormDifference', 'HuggingFaceWriterOptions', 'InitialCheckpoint', 'IoOptions', 'KeptStep', 'LatestStep', 'LoadEntries', 'LoadedStep', 'ManagerOptions', 'MeshLayout', 'Metadata', 'ModelMapping', 'NotRemoved', 'PlanCache', 'PlanOutcome', 'PlanSimulation', 'PlanTraffic', 'RankLayout', 'RetentionDecision', 'RetentionReport', 'SaveCosts', 'SaveEntries', 'SaveLoss', 'SaveOptions', 'SaveRates', 'SaveRules', 'SaveSimulation', 'SaveSimulationOptions', 'SaveTimeouts', 'SaveWork', 'Saver', 'SkippedStep', 'Spread', 'StagedState', 'StagingLimit', 'Status', 'StepDirectory', 'StorageReader', 'StorageRegistry', 'StorageWriter', 'StoredPart', 'TensorHistogram', 'TensorStatistics', 'TensorTotal', 'Trace', 'Transport', 'ValueDifference', 'VerifyReport', 'as_buffer', 'check_manager_options', 'clean', 'compare', 'compute_histogram', 'compute_statistics', 'convert', 'copy_checkpoint', 'cuda', 'describe', 'describe_layout', 'direct_io', 'dtype_codes', 'find_latest', 'io_engine', 'kept_buffer_nbytes', 'load', 'make_hugging_face_reader', 'make_hugging_face_writer', 'make_mapped_hugging_face_reader', 'make_mapped_hugging_face_writer', 'make_model_mapping', 'make_reader_by_content', 'memory_file_system', 'pack_kernel', 'parse_metadata', 'parse_shard_nbytes', 'plan_save_work', 'posix_file_system', 'prewarm_staging', 'raw_read', 'raw_write', 'release_staging_memory', 'reshard_checkpoint', 'safetensors_overwrite', 'save', 'serialize_metadata', 'simulate_plan', 'simulate_save', 'simulated_models', 'simulated_tensors', 'single_process_transport', 'staging_memory_nbytes', 'verify']
class Status:
    """
    What went wrong in libdcp.
    """
    @property
    def byte_offset(self) -> int | None:
        ...
    @property
    def code(self) -> str:
        ...
    @property
    def errno(self) -> int:
        ...
    @property
    def failures(self) -> list[tuple[int, Status]]:
        """
        (rank, status) of each failed rank.
        """
    @property
    def key(self) -> str:
        ...
    @property
    def message(self) -> str:
        ...
    @property
    def nbytes(self) -> int | None:
        ...
    @property
    def op(self) -> str:
        ...
    @property
    def path(self) -> str:
        ...
    @property
    def phase(self) -> str:
        """
        Phase of a save or load in which ranks failed.
        """
class Trace:
    """
    What a save did when (dcp/trace.h).
    """
    def __init__(self) -> None:
        ...
    def spans(self) -> list[tuple[str, float, float, int, int]]:
        """
        (name, begin, end, thread, nbytes) each, in seconds since the trace was made.
        """
    @property
    def dropped(self) -> int:
        """
        How many spans there was no room for.
        """
class Transport:
    """
    Byte collectives between ranks (dcp/transport.h). Subclasses define rank(), world_size(), coordinator(), gather(bytes) -> list[bytes], scatter(list[bytes]) -> bytes, broadcast(bytes) -> bytes, await_all(phase) and check().
    """
    def __init__(self) -> None:
        ...
    def rank(self) -> int:
        """
        This process's number.
        """
    def world_size(self) -> int:
        """
        How many ranks there are.
        """
class FileSystem:
    """
    Where files are (dcp/file_system.h). Subclasses define traits() -> (name, positional_writes, atomic_rename, directory_sync), open(path, mode), make_directories, list, exists, rename, remove and, with directory_sync, sync_directory.
    """
    def __init__(self) -> None:
        ...
class Metadata:
    """
    What a checkpoint holds (dcp/metadata.h).
    """
    def describe(self, key: str) -> typing.Any:
        """
        ("tensor", size, dtype, requires_grad, chunks), ("bytes",) or None.
        """
    def keys(self) -> list:
        """
        Flat keys, in their order.
        """
    def path(self, key: str) -> typing.Any:
        """
        The key's path in the nested state dict, None if unknown.
        """
class IoOptions:
    """
    How bytes move: dcp::IoOptions
    """
    direct_io: bool
    engine: str
    def __init__(self) -> None:
        ...
    @property
    def block_nbytes(self) -> int:
        ...
    @block_nbytes.setter
    def block_nbytes(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def cpus(self) -> list[int]:
        ...
    @cpus.setter
    def cpus(self, arg1: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        ...
    @property
    def max_buffer_nbytes(self) -> int:
        ...
    @max_buffer_nbytes.setter
    def max_buffer_nbytes(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def max_write_rate(self) -> int:
        ...
    @max_write_rate.setter
    def max_write_rate(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def nice(self) -> int:
        ...
    @nice.setter
    def nice(self, arg1: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def stall_timeout_seconds(self) -> float:
        ...
    @stall_timeout_seconds.setter
    def stall_timeout_seconds(self, arg1: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def workers(self) -> int:
        ...
    @workers.setter
    def workers(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class FileSystemWriterOptions:
    """
    dcp::FileSystemWriterOptions
    """
    checkpoint_id: str
    io: IoOptions
    overwrite: bool
    path: str
    save_id: str
    single_file_per_rank: bool
    sync_files: bool
    zstd: bool
    def __init__(self) -> None:
        ...
    @property
    def export_dtype(self) -> int | None:
        ...
    @export_dtype.setter
    def export_dtype(self, arg1: typing.SupportsInt | typing.SupportsIndex | None) -> None:
        ...
    @property
    def file_count(self) -> int:
        ...
    @file_count.setter
    def file_count(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class FileSystemReaderOptions:
    """
    dcp::FileSystemReaderOptions
    """
    io: IoOptions
    path: str
    verify: bool
    def __init__(self) -> None:
        ...
class HuggingFaceWriterOptions:
    """
    dcp::HuggingFaceWriterOptions
    """
    file_per_rank: bool
    io: IoOptions
    one_writer_per_file: bool
    overwrite: bool
    path: str
    save_id: str
    sync_files: bool
    def __init__(self) -> None:
        ...
    @property
    def export_dtype(self) -> int | None:
        ...
    @export_dtype.setter
    def export_dtype(self, arg1: typing.SupportsInt | typing.SupportsIndex | None) -> None:
        ...
    @property
    def file_numbers(self) -> dict[str, int]:
        ...
    @file_numbers.setter
    def file_numbers(self, arg0: collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex]) -> None:
        ...
    @property
    def max_shard_nbytes(self) -> int:
        ...
    @max_shard_nbytes.setter
    def max_shard_nbytes(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class StorageWriter:
    """
    dcp::StorageWriter
    """
class FileSystemWriter(StorageWriter):
    """
    The native format's writer.
    """
    def __init__(self, options: FileSystemWriterOptions, file_system: FileSystem | None = None) -> None:
        ...
    def abort(self) -> None:
        ...
    def publish(self, metadata: bytes, notes: collections.abc.Sequence[bytes]) -> None:
        """
        Commit: the bytes of `.metadata` and every rank's notes.
        """
    def set_up(self, rank: typing.SupportsInt | typing.SupportsIndex, is_coordinator: bool, use_collectives: bool) -> None:
        ...
    def set_up_to_publish(self) -> None:
        """
        After write_plan: this rank publishes.
        """
    def write_plan(self, items: list, resolve: collections.abc.Callable) -> tuple:
        """
        Write the items of a torch plan.
        """
class CheckpointIndex:
    """
    Metadata and the storage's notes.
    """
    def __init__(self, metadata: Metadata) -> None:
        ...
    @property
    def metadata(self) -> Metadata:
        ...
class StorageReader:
    """
    dcp::StorageReader
    """
    def open_data(self, items: list) -> None:
        """
        Open the files of a torch plan.
        """
    def read_index(self, rank: typing.SupportsInt | typing.SupportsIndex | None) -> CheckpointIndex:
        ...
    def read_plan(self, items: list) -> list:
        """
        Read the items of a torch plan.
        """
    def set_up(self, index: CheckpointIndex) -> None:
        ...
class FileSystemReader(StorageReader):
    """
    The native format's reader.
    """
    def __init__(self, options: FileSystemReaderOptions, file_system: FileSystem | None = None) -> None:
        ...
class ModelMapping:
    """
    dcp::ModelMapping
    """
    @property
    def dequantizes(self) -> bool:
        """
        Whether quantized weights of Hugging Face's are floats beyond it.
        """
class StorageRegistry:
    """
    Which storage serves which URL (dcp/plugin.h).
    """
    def __init__(self) -> None:
        ...
    def load_plugin(self, path: str) -> list[str]:
        """
        Schemes that the shared library serves.
        """
    def make_reader(self, options: FileSystemReaderOptions) -> StorageReader:
        """
        The reader for the URL `options.path`.
        """
    def make_writer(self, options: FileSystemWriterOptions) -> StorageWriter:
        """
        The writer for the URL `options.path`.
        """
    def schemes(self) -> list[str]:
        """
        All schemes, sorted.
        """
class Saver:
    """
    The process that saves beside this one (dcp/saver.h).
    """
    def __init__(self, program: str, patience: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    def release_memory(self) -> None:
        """
        Give the memory that no staged state uses back to the system.
        """
    def start(self) -> None:
        """
        Start it now, rather than in the first save.
        """
    @property
    def memory_nbytes(self) -> int:
        """
        Shared memory, used or not.
        """
    @property
    def process_id(self) -> int | None:
        """
        Its number, None if it does not run.
        """
class SaveEntries:
    """
    What a save is given; see dcpcpp._tensors.
    """
    def __init__(self, tuples: collections.abc.Iterable) -> None:
        ...
class DeviceCopying:
    """
    How devices copy: see dcpcpp.DefaultStager.
    """
    def __init__(self, pins_memory: bool, max_rate: typing.SupportsInt | typing.SupportsIndex, method: str) -> None:
        ...
class StagingLimit:
    """
    Host memory for copies; see dcp::StagingOptions.
    """
    def __init__(self, max_nbytes: typing.SupportsInt | typing.SupportsIndex | None, memory_share: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class StagedState:
    """
    A copy of what a rank saves (dcp/staging.h), started at once and made in the background; `save` takes it in place of SaveEntries.
    
    Takes the content of `entries` over. `keep_alive` is let go when nothing reads the tensors any more; `limit` bounds the memory of all staged states of the process. `saver` saves it, if it is one, in the place of `save`'s threads. `copies_first` has writing wait for the copies.
    """
    def __init__(self, entries: SaveEntries, keep_alive: typing.Any, limit: StagingLimit, threads: typing.SupportsInt | typing.SupportsIndex, trace: Trace, saver: Saver | None, copying: DeviceCopying, copies_first: bool) -> None:
        ...
    def cancel(self) -> None:
        """
        Give the state up: no save of it will come, or it is to fail.
        """
    def wait_handed_over(self, timeout: typing.SupportsFloat | typing.SupportsIndex) -> bool:
        """
        Wait until a saver has what it needs, or will not have it, at most `timeout` seconds; False if that is over.
        """
    def wait_staged(self, timeout: typing.SupportsFloat | typing.SupportsIndex | None) -> bool:
        """
        Wait until the tensors may change, at most `timeout` seconds; False if that is over.
        """
    @property
    def is_staged(self) -> bool:
        """
        Whether the tensors may change.
        """
    @property
    def nbytes(self) -> int:
        """
        Bytes of tensors in memory.
        """
    @property
    def nbytes_staged(self) -> int:
        """
        How many of these are copied so far.
        """
    @property
    def nbytes_streamed(self) -> int:
        """
        How many are read where they are, when they are written.
        """
    @property
    def pin_error(self) -> str:
        """
        Why devices copy to memory that is not pinned, once it is staged; else empty.
        """
    @property
    def sharing_error(self) -> str:
        """
        Why all ranks save in threads although this one has a saver, once that is known; else empty.
        """
class DeviceMesh:
    """
    Ranks in a grid (dcp/device_mesh.h).
    """
    def __init__(self, sizes: tuple, ranks: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        ...
class MeshLayout:
    """
    How tensors lie on a mesh, and where on it this rank is. A placement is (kind, dim, split factor), of kind 0 replicated, 1 sharded or 2 sharded in strides.
    """
    def __init__(self, mesh: DeviceMesh, placements: collections.abc.Sequence[tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]], coordinate: tuple) -> None:
        ...
    def chunk_sizes(self, global_size: tuple) -> tuple:
        """
        The shape of what this rank has of a tensor. Raises ValueError for an impossible layout.
        """
class PlanCache:
    """
    What a rank remembers of the last plan of its saves (dcp/plan_cache.h).
    """
    def __init__(self) -> None:
        ...
class SaveOptions:
    """
    dcp::SaveOptions
    """
    dedup_to_lowest_rank: bool
    plan_cache: PlanCache
    record_paths: bool
    trace: Trace
    use_collectives: bool
    def __init__(self) -> None:
        ...
    @property
    def split_nbytes(self) -> int:
        ...
    @split_nbytes.setter
    def split_nbytes(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class LoadEntries:
    """
    What a load fills; see dcpcpp._tensors.
    """
    def __init__(self, tuples: collections.abc.Iterable) -> None:
        ...
class Checkpoint:
    """
    A checkpoint opened for inspection (dcp/checkpoint.h).
    """
    def __init__(self, reader: StorageReader, rank: typing.SupportsInt | typing.SupportsIndex | None) -> None:
        ...
    def read(self, entries: LoadEntries) -> dict:
        """
        Fills load entries; see load().
        """
    @property
    def metadata(self) -> Metadata:
        ...
class ConvertPaths:
    """
    dcp::ConvertPaths
    """
    destination: str
    source: str
    def __init__(self) -> None:
        ...
    def set_format(self, name: str) -> None:
        """
        "dcp", "torch" or "safetensors".
        """
    @property
    def file_numbers(self) -> dict[str, int]:
        ...
    @file_numbers.setter
    def file_numbers(self, arg0: collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex]) -> None:
        ...
    @property
    def max_shard_nbytes(self) -> int:
        ...
    @max_shard_nbytes.setter
    def max_shard_nbytes(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class ConvertResult:
    """
    dcp::ConvertResult
    """
    @property
    def nbytes(self) -> int:
        ...
    @property
    def objects(self) -> int:
        ...
    @property
    def tensors(self) -> int:
        ...
class FileNotCopied:
    """
    dcp::FileNotCopied
    """
    @property
    def name(self) -> str:
        ...
    @property
    def reason(self) -> str:
        ...
class CopyResult:
    """
    dcp::CopyResult
    """
    @property
    def files(self) -> int:
        ...
    @property
    def format(self) -> str:
        ...
    @property
    def left_alone(self) -> list[str]:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def not_copied(self) -> list[FileNotCopied]:
        ...
class DescribedTensor:
    """
    dcp::DescribedTensor
    """
    @property
    def chunks(self) -> int:
        ...
    @property
    def dtype(self) -> str:
        ...
    @property
    def files(self) -> list[int]:
        ...
    @property
    def fqn(self) -> str:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def shape(self) -> tuple:
        ...
class DescribedObject:
    """
    dcp::DescribedObject
    """
    @property
    def files(self) -> list[int]:
        ...
    @property
    def fqn(self) -> str:
        ...
    @property
    def nbytes(self) -> int:
        ...
class DescribedFile:
    """
    dcp::DescribedFile
    """
    @property
    def name(self) -> str:
        ...
    @property
    def nbytes(self) -> int:
        ...
class TensorTotal:
    """
    dcp::TensorTotal
    """
    @property
    def elements(self) -> int:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def tensors(self) -> int:
        ...
class CheckpointDescription:
    """
    dcp::CheckpointDescription
    """
    @property
    def by_dtype(self) -> list[TensorTotal]:
        ...
    @property
    def by_module(self) -> list[TensorTotal]:
        ...
    @property
    def elements(self) -> int:
        ...
    @property
    def files(self) -> list[DescribedFile]:
        ...
    @property
    def format(self) -> str:
        ...
    @property
    def is_ours(self) -> bool:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def object_count(self) -> int:
        ...
    @property
    def objects(self) -> list[DescribedObject]:
        ...
    @property
    def ranks(self) -> int | None:
        ...
    @property
    def save_id(self) -> str:
        ...
    @property
    def step(self) -> int | None:
        ...
    @property
    def tensor_count(self) -> int:
        ...
    @property
    def tensors(self) -> list[DescribedTensor]:
        ...
class FormDifference:
    """
    dcp::FormDifference
    """
    @property
    def a(self) -> tuple[str, list[int]] | None:
        ...
    @property
    def b(self) -> tuple[str, list[int]] | None:
        ...
    @property
    def fqn(self) -> str:
        ...
class ValueDifference:
    """
    dcp::ValueDifference
    """
    @property
    def elements(self) -> int:
        ...
    @property
    def fqn(self) -> str:
        ...
    @property
    def max_distance(self) -> float | None:
        ...
class CheckpointDifference:
    """
    dcp::CheckpointDifference
    """
    @property
    def empty(self) -> bool:
        ...
    @property
    def forms(self) -> list[FormDifference]:
        ...
    @property
    def keys_in_common(self) -> int:
        ...
    @property
    def nbytes_compared(self) -> int:
        ...
    @property
    def only_in_a(self) -> list[str]:
        ...
    @property
    def only_in_b(self) -> list[str]:
        ...
    @property
    def values(self) -> list[ValueDifference]:
        ...
class TensorStatistics:
    """
    dcp::TensorStatistics
    """
    @property
    def dtype(self) -> str:
        ...
    @property
    def elements(self) -> int:
        ...
    @property
    def max(self) -> float:
        ...
    @property
    def mean(self) -> float:
        ...
    @property
    def min(self) -> float:
        ...
    @property
    def nans(self) -> int:
        ...
    @property
    def negative_infinities(self) -> int:
        ...
    @property
    def positive_infinities(self) -> int:
        ...
    @property
    def shape(self) -> tuple:
        ...
    @property
    def standard_deviation(self) -> float:
        ...
    @property
    def zeros(self) -> int:
        ...
class TensorHistogram:
    """
    dcp::TensorHistogram
    """
    @property
    def counts(self) -> list[int]:
        ...
    @property
    def statistics(self) -> TensorStatistics:
        ...
class StoredPart:
    """
    dcp::StoredPart
    """
    @property
    def byte_offset(self) -> int:
        ...
    @property
    def chunk(self) -> tuple[list[int], list[int]] | None:
        """
        (offsets, sizes) or None.
        """
    @property
    def file(self) -> int:
        ...
    @property
    def fqn(self) -> str:
        ...
    @property
    def nbytes(self) -> int:
        ...
class FileLayout:
    """
    dcp::FileLayout
    """
    @property
    def items(self) -> int:
        ...
    @property
    def keys(self) -> int:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def rank(self) -> int | None:
        ...
class RankLayout:
    """
    dcp::RankLayout
    """
    @property
    def files(self) -> int:
        ...
    @property
    def items(self) -> int:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def rank(self) -> int:
        ...
class CheckpointLayout:
    """
    dcp::CheckpointLayout
    """
    @property
    def file_imbalance(self) -> float:
        ...
    @property
    def files(self) -> list[FileLayout]:
        ...
    @property
    def format(self) -> str:
        ...
    @property
    def parts(self) -> list[StoredPart]:
        ...
    @property
    def rank_imbalance(self) -> float:
        ...
    @property
    def ranks(self) -> list[RankLayout]:
        ...
class Damage:
    """
    dcp::Damage
    """
    @property
    def byte_offset(self) -> int | None:
        ...
    @property
    def fqn(self) -> str:
        ...
    @property
    def message(self) -> str:
        ...
    @property
    def nbytes(self) -> int | None:
        ...
    @property
    def path(self) -> str:
        ...
class VerifyReport:
    """
    dcp::VerifyReport
    """
    @property
    def damages(self) -> list[Damage]:
        ...
    @property
    def files(self) -> int:
        ...
    @property
    def format(self) -> str:
        ...
    @property
    def is_ours(self) -> bool:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def objects(self) -> int:
        ...
    @property
    def save_id(self) -> str:
        ...
    @property
    def tensors(self) -> int:
        ...
class StepDirectory:
    """
    dcp::StepDirectory
    """
    @property
    def path(self) -> str:
        ...
    @property
    def step(self) -> int:
        ...
class SkippedStep:
    """
    dcp::SkippedStep
    """
    @property
    def directory(self) -> StepDirectory:
        ...
    @property
    def reason(self) -> str:
        ...
class LatestStep:
    """
    dcp::LatestStep
    """
    @property
    def found(self) -> StepDirectory | None:
        ...
    @property
    def skipped(self) -> list[SkippedStep]:
        ...
class SaveRules:
    """
    dcp::SaveRules
    """
    enable_first_step_checkpoint: bool
    last_save_model_only: bool
    load_only: bool
    @property
    def interval(self) -> int:
        ...
    @interval.setter
    def interval(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class ManagerOptions:
    """
    dcp::ManagerOptions
    """
    folder: str
    save: SaveRules
    def __init__(self) -> None:
        ...
    @property
    def keep_latest_k(self) -> int:
        ...
    @keep_latest_k.setter
    def keep_latest_k(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def state_keys(self) -> list[str]:
        ...
    @state_keys.setter
    def state_keys(self, arg0: collections.abc.Sequence[str]) -> None:
        ...
class InitialCheckpoint:
    """
    dcp::InitialCheckpoint
    """
    def __init__(self, path: str, is_hugging_face: bool, is_model_only: bool, is_assets: bool) -> None:
        ...
class LoadedStep:
    """
    What dcp::DecideLoad decided.
    """
    @property
    def is_hugging_face(self) -> bool:
        ...
    @property
    def is_model_only(self) -> bool:
        ...
    @property
    def path(self) -> str:
        ...
    @property
    def step(self) -> int | None:
        ...
    @property
    def warnings(self) -> list[str]:
        ...
class NotRemoved:
    """
    dcp::NotRemoved
    """
    @property
    def path(self) -> str:
        ...
    @property
    def reason(self) -> str:
        ...
class KeptStep:
    """
    dcp::KeptStep
    """
    @property
    def directory(self) -> StepDirectory:
        ...
    @property
    def reason(self) -> str:
        ...
class RetentionDecision:
    """
    dcp::RetentionDecision
    """
    @property
    def kept(self) -> list[KeptStep]:
        ...
    @property
    def removed(self) -> list[StepDirectory]:
        ...
class RetentionReport:
    """
    dcp::RetentionReport
    """
    @property
    def kept(self) -> list[KeptStep]:
        ...
    @property
    def not_removed(self) -> list[NotRemoved]:
        ...
    @property
    def removed(self) -> list[StepDirectory]:
        ...
class CheckpointManager:
    """
    dcp::CheckpointManager
    """
    def __init__(self, options: ManagerOptions) -> None:
        ...
    def apply_retention(self) -> RetentionReport:
        ...
    def begin_save(self, step: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def end_save(self, step: typing.SupportsInt | typing.SupportsIndex, is_saved: bool) -> None:
        ...
    def find_load(self, load_step: typing.SupportsInt | typing.SupportsIndex, initial: InitialCheckpoint | None, require_full_resume: bool) -> LoadedStep:
        ...
    def pin(self, step: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def plan_retention(self) -> RetentionDecision:
        ...
    def step_path(self, step: typing.SupportsInt | typing.SupportsIndex) -> str:
        ...
    def unpin(self, step: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def what_to_save(self, step: typing.SupportsInt | typing.SupportsIndex, is_last: bool) -> str | None:
        """
        "full", "model" or None.
        """
class PlanTraffic:
    """
    dcp::PlanTraffic
    """
    @property
    def messages(self) -> int:
        ...
    @property
    def nbytes(self) -> int:
        ...
class PlanOutcome:
    """
    dcp::PlanOutcome
    """
    @property
    def items(self) -> int:
        ...
    @property
    def max_load_nbytes(self) -> int:
        ...
    @property
    def mean_load_nbytes(self) -> int:
        ...
    @property
    def metadata_nbytes(self) -> int:
        ...
    @property
    def metadata_ranks(self) -> int:
        ...
class PlanSimulation:
    """
    dcp::PlanSimulation
    """
    @property
    def coordinator_steps(self) -> list[tuple[str, float]]:
        """
        (name, seconds) each.
        """
    @property
    def elements(self) -> int:
        ...
    @property
    def first_save(self) -> PlanTraffic:
        ...
    @property
    def items(self) -> int:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def outcome(self) -> PlanOutcome | None:
        ...
    @property
    def rank_steps(self) -> list[tuple[str, float]]:
        """
        (name, seconds) each.
        """
    @property
    def ranks(self) -> int:
        ...
    @property
    def ranks_planned(self) -> int:
        ...
    @property
    def specs(self) -> int:
        ...
    @property
    def tensors(self) -> int:
        ...
    @property
    def unchanged_save(self) -> PlanTraffic:
        ...
class SaveRates:
    """
    dcp::SaveRates
    """
    @property
    def device(self) -> float:
        ...
    @device.setter
    def device(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def memory(self) -> float:
        ...
    @memory.setter
    def memory(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def messages(self) -> float:
        ...
    @messages.setter
    def messages(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def node(self) -> float:
        ...
    @node.setter
    def node(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def rank(self) -> float:
        ...
    @rank.setter
    def rank(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def storage(self) -> float:
        ...
    @storage.setter
    def storage(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class SaveCosts:
    """
    dcp::SaveCosts
    """
    @property
    def file(self) -> float:
        ...
    @file.setter
    def file(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def item(self) -> float:
        ...
    @item.setter
    def item(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def latency(self) -> float:
        ...
    @latency.setter
    def latency(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def message(self) -> float:
        ...
    @message.setter
    def message(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def metadata_byte(self) -> float:
        ...
    @metadata_byte.setter
    def metadata_byte(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def poll(self) -> float:
        ...
    @poll.setter
    def poll(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def publish(self) -> float:
        ...
    @publish.setter
    def publish(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def start(self) -> float:
        ...
    @start.setter
    def start(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class SaveTimeouts:
    """
    dcp::SaveTimeouts
    """
    @property
    def heartbeat(self) -> float:
        ...
    @heartbeat.setter
    def heartbeat(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def look(self) -> float:
        ...
    @look.setter
    def look(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def stall(self) -> float:
        ...
    @stall.setter
    def stall(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class SaveSimulationOptions:
    """
    dcp::SaveSimulationOptions
    """
    costs: SaveCosts
    is_async: bool
    rates: SaveRates
    timeouts: SaveTimeouts
    def __init__(self) -> None:
        ...
    def fail(self, kind: str, number: typing.SupportsInt | typing.SupportsIndex, at: typing.SupportsFloat | typing.SupportsIndex | str) -> None:
        """
        Have a rank killed (kill) or stopped (hang), or a node lost (lose-node) or without its storage (stall-node), so many seconds after the begin or in the middle of a phase.
        """
    def slow_down(self, who: str, number: typing.SupportsInt | typing.SupportsIndex, factor: typing.SupportsFloat | typing.SupportsIndex) -> None:
        """
        Make a rank or a node so many times slower.
        """
    @property
    def buffer_nbytes(self) -> int:
        ...
    @buffer_nbytes.setter
    def buffer_nbytes(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def ranks_per_node(self) -> int:
        ...
    @ranks_per_node.setter
    def ranks_per_node(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def seed(self) -> int:
        ...
    @seed.setter
    def seed(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def straggler_factor(self) -> float:
        ...
    @straggler_factor.setter
    def straggler_factor(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def stragglers(self) -> int:
        ...
    @stragglers.setter
    def stragglers(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class SaveWork:
    """
    dcp::SaveWork
    """
    def __init__(self, written_nbytes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], held_nbytes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], items: typing.SupportsInt | typing.SupportsIndex, metadata_nbytes: typing.SupportsInt | typing.SupportsIndex, planning: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]) -> None:
        """
        `planning`: messages and bytes of all ranks.
        """
    @property
    def items(self) -> int:
        ...
    @property
    def metadata_nbytes(self) -> int:
        ...
    @property
    def planning(self) -> PlanTraffic:
        ...
    @property
    def ranks_planned(self) -> int:
        ...
class Spread:
    """
    dcp::Spread
    """
    @property
    def least(self) -> float:
        ...
    @property
    def mean(self) -> float:
        ...
    @property
    def median(self) -> float:
        ...
    @property
    def most(self) -> float:
        ...
    @property
    def p99(self) -> float:
        ...
class SaveLoss:
    """
    dcp::SaveLoss
    """
    @property
    def noticed(self) -> float:
        ...
    @property
    def ranks(self) -> int:
        ...
    @property
    def seconds(self) -> float:
        ...
    @property
    def writing(self) -> int:
        ...
class SaveSimulation:
    """
    dcp::SaveSimulation
    """
    @property
    def end(self) -> str:
        """
        saved, failed or in doubt.
        """
    @property
    def even_seconds(self) -> float:
        ...
    @property
    def files(self) -> int:
        ...
    @property
    def last_rank(self) -> int:
        ...
    @property
    def loss(self) -> SaveLoss | None:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def node_nbytes(self) -> Spread:
        ...
    @property
    def nodes(self) -> int:
        ...
    @property
    def parts(self) -> list[tuple[str, Spread]]:
        """
        (name, seconds of ranks) each.
        """
    @property
    def rank_nbytes(self) -> Spread:
        ...
    @property
    def ranks(self) -> int:
        ...
    @property
    def seconds(self) -> float:
        ...
def as_buffer(address: typing.SupportsInt | typing.SupportsIndex, nbytes: typing.SupportsInt | typing.SupportsIndex) -> memoryview:
    """
    A read-only view of memory that the caller keeps alive.
    """
def check_manager_options(options: ManagerOptions) -> None:
    """
    Raise if options make no sense.
    """
def clean(path: str, dry_run: bool) -> list[tuple[str, int]]:
    """
    Remove what killed saves left; [(name, bytes)].
    """
def compare(a: str, b: str, values: bool) -> CheckpointDifference:
    """
    What two checkpoints do not have in common (dcp/compare.h).
    """
def compute_histogram(path: str, key: str, bins: typing.SupportsInt | typing.SupportsIndex) -> TensorHistogram:
    """
    How the numbers in a tensor are spread (dcp/tensor_statistics.h).
    """
def compute_statistics(path: str, key: str) -> TensorStatistics:
    """
    The numbers in a tensor (dcp/tensor_statistics.h).
    """
def convert(paths: ConvertPaths, dtype: typing.SupportsInt | typing.SupportsIndex | None, rename: typing.Any, progress: typing.Any, transport: Transport, mapping: ModelMapping | None = None) -> ConvertResult:
    """
    Convert a checkpoint (dcp/convert.h). `dtype` is a code; `rename` makes a name, or None, of a key; `progress` is called with bytes done and bytes in all; `mapping` is what make_model_mapping returned.
    """
def copy_checkpoint(source: str, destination: str, progress: typing.Any) -> CopyResult:
    """
    Copy a checkpoint (dcp/copy.h). `progress` is called with bytes done and bytes in all, or None.
    """
def cuda() -> str:
    """
    What was found of CUDA.
    """
def describe(path: str, items: bool = True) -> CheckpointDescription:
    """
    What a checkpoint holds (dcp/describe.h).
    """
def describe_layout(path: str) -> CheckpointLayout:
    """
    What lies where (dcp/checkpoint_layout.h).
    """
def direct_io(path: str) -> tuple[bool, str]:
    """
    (whether, why) direct I/O serves a file, or files in a directory.
    """
def dtype_codes() -> dict[str, int]:
    """
    libdcp's code of each dtype, by torch's name.
    """
def find_latest(root: str, verify: bool, io: IoOptions) -> LatestStep:
    """
    Find the newest step of a run (dcp/latest.h).
    """
def io_engine(wanted: str = 'auto') -> tuple[str, str]:
    """
    (name, reason) of the I/O engine that serves on this machine.
    """
def kept_buffer_nbytes() -> int:
    """
    Bytes of buffers kept for the next save or load.
    """
def load(make_entries: collections.abc.Callable, accept: collections.abc.Callable, reader: StorageReader, transport: Transport, allow_partial_load: bool, pool_reads: bool = True) -> None:
    """
    Load the LoadEntries that `make_entries(metadata)` returns. `accept` gets a dict with objects, missing, unexpected, casts and nbytes_read; what it raises fails the load on all ranks.
    """
def make_hugging_face_reader(options: FileSystemReaderOptions, file_system: FileSystem | None = None, dequantize: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex] | None = None) -> StorageReader:
    """
    Reads safetensors files; `dequantize` is a dtype's code and the size of blocks.
    """
def make_hugging_face_writer(options: HuggingFaceWriterOptions, file_system: FileSystem | None = None) -> StorageWriter:
    """
    Writes safetensors files.
    """
def make_mapped_hugging_face_reader(options: FileSystemReaderOptions, mapping: ModelMapping, file_system: FileSystem | None = None) -> StorageReader:
    """
    Reads a trainer's tensors from safetensors files by a mapping.
    """
def make_mapped_hugging_face_writer(options: HuggingFaceWriterOptions, mapping: ModelMapping, file_system: FileSystem | None = None) -> StorageWriter:
    """
    Writes safetensors files of what a mapping makes of a trainer's tensors.
    """
def make_model_mapping(*, model: str = '', rules: str = '', flavor: str = '', config: str = '', to_native: bool = False, dialect: str = '') -> ModelMapping:
    """
    Of dcp/mapping.h; `rules` and `config` are JSON texts.
    """
def make_reader_by_content(options: FileSystemReaderOptions, file_system: FileSystem | None = None) -> StorageReader:
    """
    Reads the format that it finds.
    """
def memory_file_system() -> FileSystem:
    """
    Files in memory.
    """
def pack_kernel() -> str:
    """
    What this build has of the kernel that packs device tensors.
    """
def parse_metadata(pickle: bytes) -> Metadata:
    """
    Reads the bytes of a `.metadata` file; executes nothing.
    """
def parse_shard_nbytes(text: str) -> int:
    """
    Bytes of a size such as "5GB".
    """
def plan_save_work(model: str, mesh: collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex], mode: str, max_items: typing.SupportsInt | typing.SupportsIndex) -> SaveWork:
    """
    What the ranks of a job that is not there have to save; arguments as of simulate_plan (dcp/simulate_save.h).
    """
def posix_file_system() -> FileSystem:
    """
    The machine's own files.
    """
def prewarm_staging(nbytes: typing.SupportsInt | typing.SupportsIndex, limit: StagingLimit, saver: Saver | None, device: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Take memory for a state of `nbytes` ahead, as far as `limit` allows; pinned for the CUDA device of that number, if it is not negative.
    """
def raw_read(directory: str, names: collections.abc.Sequence[str], nbytes: typing.SupportsInt | typing.SupportsIndex, block_nbytes: typing.SupportsInt | typing.SupportsIndex, queue_depth: typing.SupportsInt | typing.SupportsIndex, direct: bool) -> tuple[float, int]:
    """
    Read files of a directory through plain I/O, equally much of each; (seconds, bytes moved).
    """
def raw_write(directory: str, nbytes: typing.SupportsInt | typing.SupportsIndex, files: typing.SupportsInt | typing.SupportsIndex, block_nbytes: typing.SupportsInt | typing.SupportsIndex, queue_depth: typing.SupportsInt | typing.SupportsIndex, direct: bool, before_start: collections.abc.Callable[[], None] | None = None) -> tuple[float, int]:
    """
    Write files through plain I/O, synced; (seconds, bytes moved).
    """
def release_staging_memory() -> None:
    """
    Give the memory that no staged state uses back to the system.
    """
def reshard_checkpoint(source: str, destination: str, ranks: typing.SupportsInt | typing.SupportsIndex, progress: typing.Any) -> ConvertResult:
    """
    Write a checkpoint as another number of ranks would have saved it (dcp/reshard.h). `progress` is as for copy_checkpoint.
    """
def safetensors_overwrite(path: str) -> str:
    """
    How a save would replace safetensors files in a directory, and why.
    """
@typing.overload
def save(entries: SaveEntries, error: typing.Any, writer: StorageWriter, transport: Transport, options: SaveOptions) -> bytes:
    """
    Save `entries`, which is empty afterwards, and return the bytes of the published `.metadata`.
    
    A rank that could not make its entries passes the exception as `error`, so that the others learn of it.
    """
@typing.overload
def save(staged: StagedState, error: typing.Any, writer: StorageWriter, transport: Transport, options: SaveOptions) -> bytes:
    """
    Save what was staged, once.
    """
def serialize_metadata(metadata: Metadata) -> bytes:
    """
    The bytes of a `.metadata` file.
    """
def simulate_plan(model: str, mesh: collections.abc.Mapping[str, typing.SupportsInt | typing.SupportsIndex], mode: str, max_items: typing.SupportsInt | typing.SupportsIndex) -> PlanSimulation:
    """
    Plan the save of a job that is not there (dcp/simulate.h). `mesh`: degrees by name. `mode`: closed-form or gather.
    """
def simulate_save(work: SaveWork, options: SaveSimulationOptions) -> SaveSimulation:
    """
    Carry out a save on a virtual clock (dcp/simulate_save.h).
    """
def simulated_models() -> list[str]:
    """
    Models that simulate_plan knows (dcp/simulate.h).
    """
def simulated_tensors(model: str) -> list[tuple[str, list[int]]]:
    """
    (name, shape) of each tensor of a model.
    """
def single_process_transport() -> Transport:
    """
    The transport of one process, which signals can stop.
    """
def staging_memory_nbytes() -> int:
    """
    Host memory that this process has for staged states, used or not.
    """
def verify(path: str, io: IoOptions, file_system: FileSystem | None = None) -> VerifyReport:
    """
    Check a whole checkpoint (dcp/verify.h).
    """
