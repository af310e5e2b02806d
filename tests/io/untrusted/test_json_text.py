"""Untrusted JSON."""

from __future__ import annotations

import pytest

from transfer_cli.io.untrusted.json_text import MAX_DEPTH, iter_objects, parse_json


def test_parse_json_valid() -> None:
    assert parse_json(b'{"a": [1, 2.5, null, "\xc3\xa4"]}', most_bytes=100) == {"a": [1, 2.5, None, "\u00e4"]}
    assert [sorted(each) for each in iter_objects({"a": [{"b": {"c": 1}}]})] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "it has the key 'c' twice"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b"[" * 200 + b"]" * 200, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b" " * 1_000_001, "1,000,001 bytes of JSON, at most 1,000,000"),
        (b'{"a": 1} x', "Extra data"),
    ],
    ids=["twice", "nan", "infinite", "deep", "deeper", "deep objects", "digits", "long", "more"],
)
def test_parse_json_hostile_raises(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(data, most_bytes=1_000_000)


def test_parse_json_maximum_depth_is_accepted() -> None:
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, most_bytes=1000) is not None
