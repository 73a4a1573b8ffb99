"""A storage of a user's own, without anything of ours or of torch's file system."""

from __future__ import annotations

import io
from typing import Any

import torch
import torch.distributed.checkpoint as stock


class MemoryWriter(stock.StorageWriter):
    """Keeps items in this process, in torch's own serialization."""

    def __init__(self) -> None:
        self.items: dict[Any, bytes] = {}
        self.metadata: Any = None

    def reset(self, checkpoint_id: Any = None) -> None: ...

    def set_up_storage_writer(self, is_coordinator: bool) -> None: ...

    def prepare_local_plan(self, plan: Any) -> Any:
        return plan

    def prepare_global_plan(self, plans: Any) -> Any:
        return plans

    def write_data(self, plan: Any, planner: Any) -> Any:
        results = []
        for item in plan.items:
            data = planner.resolve_data(item)
            buffer = data if isinstance(data, io.BytesIO) else io.BytesIO()
            if isinstance(data, torch.Tensor):
                torch.save(data, buffer)
            self.items[item.index] = buffer.getvalue()
            results.append(stock.storage.WriteResult(item.index, len(buffer.getvalue()), None))
        future: torch.futures.Future[Any] = torch.futures.Future()
        future.set_result(results)
        return future

    def finish(self, metadata: Any, results: Any) -> None:
        self.metadata = metadata

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


class MemoryReader(stock.StorageReader):
    """Reads what a MemoryWriter keeps."""

    def __init__(self, writer: MemoryWriter) -> None:
        self._writer = writer

    def reset(self, checkpoint_id: Any = None) -> None: ...

    def read_metadata(self) -> Any:
        return self._writer.metadata

    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool) -> None: ...

    def prepare_local_plan(self, plan: Any) -> Any:
        return plan

    def prepare_global_plan(self, plans: Any) -> Any:
        return plans

    def read_data(self, plan: Any, planner: Any) -> Any:
        for item in plan.items:
            data = self._writer.items[item.storage_index]
            if item.type == stock.planner.LoadItemType.BYTE_IO:
                planner.load_bytes(item, io.BytesIO(data))
                continue
            target = planner.resolve_tensor(item)
            target.copy_(torch.load(io.BytesIO(data)))
            planner.commit_tensor(item, target)
        future: torch.futures.Future[Any] = torch.futures.Future()
        future.set_result(None)
        return future

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True
