"""The one reader of files that people write, and the one rule for each kind of number."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import netc_clusters
from netc import numbers
from netc.cost import read_cluster
from netc.errors import NetError
from netc.numbers import LARGEST, Number
from netc.strategies.file import read_strategy
from netc.syntax import parse_file
from netc.text import Unreadable, read_text, read_toml

NET = 'net n\ninput image 1x8x8\ninclude "b.net"\nact()\nfc 10 | softmax_loss\n'
BLOCK = "block act() { relu\ntanh }\n"
STRATEGY = "devices = 2\n[splits]\n'fc1' = 'k'\n"
CLUSTER = (Path(netc_clusters.__file__).parent / "local.toml").read_text()
READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "network": (parse_file, NET),
    "strategy": (read_strategy, STRATEGY),
    "cluster": (read_cluster, CLUSTER),
}
KINDS = {name: each for name, each in vars(numbers).items() if isinstance(each, Number)}
readers = pytest.mark.parametrize(("read", "text"), READERS.values(), ids=READERS)


@readers
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_ends_of_lines_change_nothing(
    tmp_path: Path, read: Callable[[Path], object], text: str, mark: str, end: str
) -> None:
    found = []
    for written in (text, mark + text.replace("\n", end)):
        (tmp_path / "b.net").write_bytes((mark + BLOCK.replace("\n", end)).encode())
        (tmp_path / "x").write_bytes(written.encode())
        found.append(read(tmp_path / "x"))
    assert found[0] == found[1]


@readers
@pytest.mark.parametrize("made", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, read: Callable[[Path], object], text: str, made: Callable[[Path], None]
) -> None:
    path = tmp_path / "x"
    made(path)
    outcome: list[str] = []

    def attempt() -> None:
        try:
            read(path)
        except NetError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(20)
    assert outcome and f"'{path}'" in outcome[0]


@readers
def test_a_device_is_no_file(read: Callable[[Path], object], text: str) -> None:
    with pytest.raises(NetError, match="'/dev/zero': it is no regular file"):
        read(Path("/dev/zero"))


def test_the_encoding_of_an_included_file_is_told_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "main.net").write_text(NET)
    (tmp_path / "b.net").write_bytes(BLOCK.encode("utf-16"))
    with pytest.raises(NetError) as error:
        parse_file(tmp_path / "main.net")
    assert "'b.net' is not UTF-8: byte 0, on line 1, is 0xff" in str(error.value)
    assert "main.net:3:1" in str(error.value)


@pytest.mark.parametrize("keys", [("a",), ("t",), ("t", "a"), ("t", "b.c"), ("t", "d")])
def test_a_key_is_found_in_its_own_table(tmp_path: Path, keys: tuple[str, ...]) -> None:
    path = tmp_path / "x.toml"
    path.write_text("a = 1\n\n[t]\na = 1\n\"b.c\" = 2\n'd'=3\nd2 = 1\n")
    line = {("a",): 1, ("t",): 3, ("t", "a"): 4, ("t", "b.c"): 5, ("t", "d"): 6}[keys]
    assert read_toml(path).span(*keys).line == line


def test_a_file_with_a_strange_name_is_shown_by_valid_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.toml"))
    path.write_text(CLUSTER)
    assert read_cluster(path).name == "\\udcff"
    path.write_text("a = ")
    assert read_text(path) == "a = "
    with pytest.raises(Unreadable) as problem:
        read_toml(path)
    assert problem.value.span is not None
    assert problem.value.span.origin == "\\udcff.toml:1:1"


VALUES = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.none(), st.text(), st.just(10**400),
    st.lists(st.integers()),
)  # fmt: skip


@given(st.sampled_from(sorted(KINDS)), VALUES)
def test_what_a_kind_accepts_is_a_finite_number(name: str, value: object) -> None:
    if KINDS[name].accepts(value):
        assert type(value) in ((int,) if KINDS[name].whole else (int, float))
        assert abs(float(value)) <= (LARGEST if KINDS[name].whole else 1.8e308)


@given(st.sampled_from(sorted(KINDS)), st.one_of(st.text(), VALUES.map(repr)))
def test_what_is_read_is_accepted(name: str, text: str) -> None:
    try:
        value = KINDS[name].read(text)
    except ValueError:
        return
    assert KINDS[name].accepts(value)
    assert repr(value) == text or float(text) == value


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (numbers.COUNT, "1 +7 9223372036854775807", "0 -1 1.0 1_0 0x1 nan inf 9223372036854775808"),
        (numbers.NATURAL, "0 7", "-1 0.5 ١"),
        (numbers.DEVICES, "1 1024", "0 1025 1e2"),
        (numbers.POSITIVE, "1 .5 1e-4 1.", "0 -1 nan inf -inf 1e999 1e 1_0 x"),
        (numbers.BELOW_ONE, "0 0.9", "1 -0.1 nan"),
        (numbers.FACTOR, "0.1 1", "0 1.5 nan"),
    ],
)  # fmt: skip
def test_texts_of_numbers(kind: Number, right: str, wrong: str) -> None:
    for text in right.split():
        assert float(kind.read(text)) == float(text)
    for text in ("", " 1", "9" * 5000, *wrong.split()):
        with pytest.raises(ValueError):  # noqa: PT011 (its text is the one that was read)
            kind.read(text)
