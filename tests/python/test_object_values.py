"""Plain data comes back from an item as it went in, without trust."""

from __future__ import annotations

import collections
import datetime
import fractions
import io
import pathlib
import pickle
from typing import Any

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from dcpcpp import _objects
from support import object_values


def decode(value: object, protocol: int = 2) -> Any:
    stream = io.BytesIO()
    torch.save(value, stream, pickle_protocol=protocol)
    return _objects.decode(stream.getvalue(), "o", allow_pickle=False)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_writes_what_loads_without_trust(protocol: int) -> None:
    for name, value in object_values.values().items():
        try:
            loaded = decode(value, protocol)
            object_values.require_same(loaded, value)
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error


def test_what_an_object_shares_it_shares_afterwards() -> None:
    array = np.arange(3)
    itself: dict[str, Any] = {"arrays": (array, [array]), "attributes": collections.OrderedDict()}
    itself["itself"] = itself
    itself["attributes"].note = array
    loaded = decode(itself)
    assert loaded["itself"] is loaded
    assert loaded["arrays"][0] is loaded["arrays"][1][0]
    assert loaded["attributes"].note is loaded["arrays"][0]


def test_a_tuple_that_holds_itself_loads() -> None:
    inner: list[Any] = []
    value = (inner,)
    inner.append(value)
    loaded = decode(value)
    assert loaded[0][0] is loaded


def test_large_states_stay_within_their_budget() -> None:
    many = {(number, str(number)): [np.float32(number), {number}] for number in range(20_000)}
    assert decode(many) == many
    sets = [frozenset({1, 2, number % 3}) for number in range(1000)]
    assert decode(sets) == sets


class Odd(np.ndarray):
    """A class of array of the trainer's own."""


def test_an_array_of_another_class_needs_allow_pickle_even_if_it_is_registered() -> None:
    data = _objects.encode(np.arange(3).view(Odd))
    with (
        torch.serialization.safe_globals([Odd]),
        pytest.raises(Exception, match=r"'o' is not loaded.*numpy\.ndarray.*allow_pickle=True"),
    ):
        _objects.decode(data, "o", allow_pickle=False)
    assert type(_objects.decode(data, "o", allow_pickle=True)) is Odd


_KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=[])),
    st.binary(),
    st.fractions(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.datetimes(timezones=st.sampled_from([None, datetime.timezone.utc])).map(
        lambda moment: moment.replace(fold=0)  # which protocol 2 does not keep
    ),
    st.timedeltas(),
    st.builds(pathlib.PurePosixPath, st.text("ab/.")),
)
_KEYS_OF_KEYS = st.recursive(
    _KEYS, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner)), max_leaves=5
)
_NUMPY = hypothesis.extra.numpy
_DTYPES = st.one_of(
    _NUMPY.scalar_dtypes(), _NUMPY.array_dtypes(allow_subarrays=True), _NUMPY.nested_dtypes()
)
_ARRAYS = _DTYPES.flatmap(lambda dtype: _NUMPY.arrays(dtype, _NUMPY.array_shapes(min_side=0)))
_LEAVES = st.one_of(_KEYS_OF_KEYS, _ARRAYS, st.complex_numbers(), st.builds(bytearray, st.binary()))
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(_KEYS_OF_KEYS, inner),
        st.builds(collections.OrderedDict, st.dictionaries(_KEYS, inner)),
        st.builds(collections.deque, st.lists(inner), st.none() | st.integers(0, 9)),
        st.sets(_KEYS_OF_KEYS),
    ),
    max_leaves=10,
)


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
@hypothesis.given(value=_VALUES, protocol=st.integers(2, 5))
def test_random_plain_data_comes_back(value: Any, protocol: int) -> None:
    object_values.require_same(decode(value, protocol), value)


def test_a_fraction_of_many_digits_needs_allow_pickle() -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"fractions\.Fraction.*allow_pickle=True"):
        decode(fractions.Fraction(1, 1 << 12_000))
