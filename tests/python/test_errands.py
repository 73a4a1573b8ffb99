"""What a rank's sign of arrival says, and when signs fit together."""

from __future__ import annotations

import json
import pathlib
from types import SimpleNamespace

import pytest

from dcpcpp._errand import Errand, Sign, find_fault, find_other_place, place_of
from dcpcpp._processes import Process


def sign(place: str | None = None, host: str = "a", machine: str = "", **more: bool) -> Sign:
    return Sign(Process(host, 1, "2", machine), Errand("save", place, **more))


def test_a_sign_is_read_as_it_was_sent() -> None:
    for errand in (
        Errand("load"),
        Errand("save", "/ckpt/\u00e4 7", use_collectives=False),
        Errand("save", "s3://b/c", is_refused=True),
    ):
        sent = Sign(Process.current(), errand)
        assert Sign.from_json(sent.to_json()) == sent


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[1]",
        '[1, "{}", "save", null, true, false]',
        '[1, 5, "save", null, true, false]',
        "[" * 50_000,
        *(
            sign("/c").to_json().replace(*change)
            for change in (('"save"', '"write"'), ('"/c"', "5"), ("true", "1"), ("false", "[]"))
        ),
    ],
)
def test_what_is_no_sign_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is none"):
        Sign.from_json(text)


def test_a_sign_of_another_version_or_too_long_is_refused() -> None:
    fields = json.loads(sign("/c").to_json())
    with pytest.raises(ValueError, match="version 2, not 1"):
        Sign.from_json(json.dumps([2, *fields[1:]]))
    with pytest.raises(ValueError, match="too many"):
        Sign.from_json(sign("x" * 70_000).to_json())


def test_a_place_is_absolute_and_bounded() -> None:
    def place(path: object) -> str | None:
        return place_of(SimpleNamespace(path=path))

    assert place("a/../b/") == place(pathlib.Path("b")) == str(pathlib.Path.cwd() / "b")
    assert place("s3://bucket/c/") == "s3://bucket/c"
    assert place(5) is place(None) is None
    long = [place(f"s3://{'x' * 5000}{end}") or "" for end in "ab"]
    assert long[0] != long[1]
    assert all(len(text) == 4096 for text in long)
    full = Sign(Process.current(), Errand("save", place("s3://" + "\U0001f600" * 5000)))
    assert Sign.from_json(full.to_json()) == full


def test_only_hosts_may_differ_in_the_place() -> None:
    def fault(*signs: Sign) -> str:
        found = find_fault(signs, 0, str)
        return found.why if found else ""

    assert fault(sign("/c"), sign("/c"), sign(None)) == ""
    assert fault(sign("/c"), sign("/d", host="b")) == ""
    assert fault(sign("/c"), sign("/d")) == "saves to /d, but 0 saves to /c"
    apart = sign("/c", host="b"), sign("/d", host="b")
    assert fault(sign("/c"), *apart) == "saves to /d, but 1 saves to /c"
    assert fault(sign("/c", machine="m"), sign("/d", host="b", machine="m")) != ""
    alone = [sign(place, use_collectives=False) for place in ("/c", "/d")]
    assert fault(*alone) == ""
    assert find_other_place(alone, str) == ""
    other = find_other_place((sign("/c"), sign(None), sign("/d", host="b")), str)
    assert other == "2 saves to /d, but 0 saves to /c"
