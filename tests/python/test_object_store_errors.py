"""Errors of an S3 client, which are neither OSErrors nor ours."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

import dcpcpp


def test_errors_of_an_object_store_are_typed_and_keep_their_cause(
    s3_options: dict[str, Any],
) -> None:
    exceptions = pytest.importorskip("botocore.exceptions")
    nobody = {
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
    }
    options = {**s3_options, **nobody}
    url = "s3://bucket/unreachable"
    state = {"w": torch.zeros(3)}
    for call in (
        lambda: dcpcpp.save(state, storage_writer=dcpcpp.FsspecWriter(url, **options)),
        lambda: dcpcpp.load(state, storage_reader=dcpcpp.FsspecReader(url, **options)),
    ):
        with pytest.raises(dcpcpp.CheckpointException, match="EndpointConnectionError") as info:
            call()
        error = info.value.failures[0][0]
        assert isinstance(error, dcpcpp.StorageError)
        assert isinstance(error, OSError)
        assert error.path == "s3://bucket/unreachable/.metadata"
        assert isinstance(error.__cause__, exceptions.EndpointConnectionError)
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.path) == (str(error), error.path)
