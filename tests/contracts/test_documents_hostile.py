"""YAML that nobody meant well is refused with file and line, soon, and says nothing but data."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.documents import load, parse
from contracts.errors import ConfigurationError

_LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_LAUGHS, "aliases"),
        ("a: &a [*a]", "aliases"),
        ("a: !!python/object/apply:os.system ['echo x']", "means nothing here"),
        ("a: !!python/name:os.system", "means nothing here"),
        ("!!python/object/new:os.system [x]", "means nothing here"),
        ("a: !include /etc/passwd", "means nothing here"),
        ("a: !!binary QUJD", "means nothing here"),
        ("a: !!timestamp x", "means nothing here"),
        ("a: !!set {x, y}", "means nothing here"),
        ("a: !!int ''", "a is no int"),
        ("a: !!float ''", "a is no float"),
        ("a: !!bool maybe", "a is no bool"),
        ("a: " + "1:0" * 100_000, "too long to be anything but a text"),
        ("a: " + "9" * 100_000, "too long to be anything but a text"),
        ("a: 0x" + "f" * 100_000, "too long to be anything but a text"),
        ("a: " + "[" * 60 + "]" * 60, "nested too deeply"),
        ("a: " + "[" * 20_000, ""),
        ("? " * 5_000, ""),
        ("- " * 20_000, ""),
        ("? [a]\n: b", "keys must be plain text"),
        ("a: 1\na: 2", "stands twice"),
        ("<<: {a: 1}", ""),
        ('a: "\\ud800"', "half a character"),
        ('"\\ud800": a', "half a character"),
        ("a: \x00", ""),
        ("%YAML 9.9\n---\na: 1", ""),
        ("", "empty"),
        ("\ufeff", ""),
    ],
    ids=lambda value: re.sub(r"\W+", "-", value)[:30],
)
def test_what_is_no_plain_data_is_refused_or_read_as_text(text: str, said: str) -> None:
    said_of = ""
    try:
        parse(text, "x.yaml").plain()
    except ConfigurationError as error:
        said_of = str(error)
    assert said in said_of
    assert said_of.startswith("x.yaml") or not said


WORDS = ["a", "1", "&a", "*a", "!!", "!!int", "!x", "<<", "\\x", "0x", "1:2", ".inf", "2024-01-01", "---", "..."]
PIECES = st.sampled_from([*"[]{},'\"?%#=~\t@`>|\n \x85", ": ", "- ", "\n  ", "|\n", *(f"{word} " for word in WORDS)])


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=40))
def test_nothing_but_a_configuration_error_escapes(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        parse(text, "x.yaml").plain()


def test_bytes_and_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for data, said in ((b"\xff\xfe", "UTF-8"), (b"a: " + b"x" * (2 << 20), "at most")):
        path.write_bytes(data)
        with pytest.raises(ConfigurationError, match=said):
            load(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path)


def test_a_file_of_as_many_keys_as_may_be_takes_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("[" + "a," * 40_000 + "a]")
    code = (
        "import re, sys; from pathlib import Path; from contracts.documents import load; load(sys.argv[1])\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    # a thirteenth of the most that may be
    assert int(done.stdout) < 80
