"""Reading files, including others, and `-D`."""

import os
import sys
from pathlib import Path

import pytest

from netc.errors import SyntaxProblem, UsageError, render
from netc.syntax import parse_file, parse_text

MAIN = "net n(classes = 10)\ninput image 1x8x8\n{}\nfc classes | softmax_loss\n"


def write(folder: Path, **files: str) -> Path:
    """Write the files NAME.net and return the path of `main.net`."""
    for name, text in files.items():
        (folder / f"{name}.net").write_text(text, encoding="utf-8")
    return folder / "main.net"


def message(path: Path | str) -> str:
    with pytest.raises(SyntaxProblem) as problem:
        parse_file(path)
    return render(problem.value.diagnostics)


def test_a_file_is_shown_by_its_name(tmp_path: Path) -> None:
    network = parse_file(write(tmp_path, main=MAIN.format("relu")))
    assert network.source is not None
    assert network.source.name == "main.net"
    assert network.layers[0].span is not None
    assert network.layers[0].span.origin == "main.net:3:1"


def test_include(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts", unit='include "act.net"\nblock unit(n) { conv 1 n | act() }')
    write(tmp_path / "parts", act="block act() { relu | tanh }")
    body = 'include "parts/unit.net"\ninclude "parts/act.net"\nunit(8) | act()'
    network = parse_file(write(tmp_path, main=MAIN.format(body)))
    assert [layer.name for layer in network.layers[:-2]] == [
        "unit1.conv1",
        "unit1.act1.relu1",
        "unit1.act1.tanh1",
        "act1.relu1",
        "act1.tanh1",
    ]
    span = network.layers[0].span
    assert span is not None
    assert span.origin == "parts/unit.net:2:17"
    assert span.trail == ("in block 'unit', called at main.net:5:1",)


def test_a_problem_in_an_included_file(tmp_path: Path) -> None:
    write(tmp_path, unit="block unit(n) {\n    conv 1 n padd=1\n}\n")
    assert message(write(tmp_path, main=MAIN.format('include "unit.net"\nunit(8)'))) == (
        "error[E012]: 'conv' has no option 'padd'.\n"
        "  --> unit.net:2:14\n"
        "   2 |     conv 1 n padd=1\n"
        "     |              ^^^^\n"
        "     = in block 'unit', called at main.net:4:1\n"
        "     = help: did you mean 'pad'? 'conv' takes: bias, bias_value, filters, groups, pad, "
        "size, std, stride."
    )


def test_syntax_errors_of_all_files_are_reported(tmp_path: Path) -> None:
    main = write(
        tmp_path, a="block (", b="block b {\nrelu )\n}", main='include "a.net"\ninclude "b.net"'
    )
    text = message(main)
    assert "a.net:1:7" in text
    assert "b.net:2:6" in text


def test_a_file_that_includes_itself(tmp_path: Path) -> None:
    write(tmp_path, a='include "b.net"', b='include "a.net"')
    assert message(write(tmp_path, main=MAIN.format('include "a.net"'))) == (
        "error[E009]: 'a.net' includes itself.\n"
        "  --> b.net:1:1\n"
        '   1 | include "a.net"\n'
        "     | ^^^^^^^^^^^^^^^\n"
        "     = 'main.net' includes 'a.net' includes 'b.net' includes 'a.net'"
    )


def test_an_included_file_holds_blocks_only(tmp_path: Path) -> None:
    write(tmp_path, a="block b { relu }\ninput other 1x8x8\n")
    assert message(write(tmp_path, main=MAIN.format('include "a.net"'))) == (
        "error[E025]: 'input' cannot stand in an included file, which holds blocks only.\n"
        "  --> a.net:2:1\n"
        "   2 | input other 1x8x8\n"
        "     | ^^^^^^^^^^^^^^^^^"
    )


def test_a_missing_include(tmp_path: Path) -> None:
    assert message(write(tmp_path, main=MAIN.format('include "blocks.net"'))) == (
        f"error[E006]: cannot read '{tmp_path / 'blocks.net'}': No such file or directory.\n"
        "  --> main.net:3:1\n"
        '   3 | include "blocks.net"\n'
        "     | ^^^^^^^^^^^^^^^^^^^^"
    )


def test_a_missing_file() -> None:
    expected = "error[E006]: cannot read 'nowhere/main.net': No such file or directory."
    assert message("nowhere/main.net") == expected


def test_a_folder(tmp_path: Path) -> None:
    assert message(tmp_path) == f"error[E006]: cannot read '{tmp_path}': Is a directory."


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="the superuser reads everything"
)
def test_a_file_without_permission(tmp_path: Path) -> None:
    main = write(tmp_path, main="net n")
    main.chmod(0)
    assert message(main) == f"error[E006]: cannot read '{main}': Permission denied."


@pytest.mark.parametrize("path", ["a\0b.net", "x" * 5000])
def test_no_path_at_all(path: str) -> None:
    assert message(path).startswith("error[E006]: cannot read '")
    assert len(message(path)) < 200


def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    main = tmp_path / "main.net"
    with main.open("wb") as file:
        file.truncate(2**24 + 1)
    assert message(main) == f"error[E006]: cannot read '{main}': it is longer than 16 MiB."


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    main = tmp_path / "main.net"
    main.write_bytes(b"net n\n# caf\xe9\n")
    assert message(main) == (
        "error[E007]: 'main.net' is not UTF-8: byte 11, on line 2, is 0xe9.\n"
        "     = help: save the file in the encoding UTF-8."
    )


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# only a comment", b"\xef\xbb\xbf"])
def test_an_empty_file(tmp_path: Path, data: bytes) -> None:
    main = tmp_path / "main.net"
    main.write_bytes(data)
    assert message(main).startswith("error[E008]: 'main.net' is empty.")


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_line_ends_and_byte_order_mark_do_not_matter(tmp_path: Path, end: str) -> None:
    text = MAIN.format("conv 3 8 | relu\nbn")
    main = tmp_path / "main.net"
    main.write_bytes(("\ufeff" + text.replace("\n", end)).encode())
    network = parse_file(main)
    assert network == parse_text(text)
    assert network.layers[2].span is not None
    assert network.layers[2].span.origin == "main.net:4:1"


def test_an_unknown_define() -> None:
    with pytest.raises(UsageError) as problem:
        parse_text(MAIN.format("relu"), "t.net", {"clases": "7"})
    assert render(problem.value.diagnostics) == (
        "error[E026]: -D clases: 'n' has no parameter 'clases'.\n"
        "  --> t.net:1:1\n"
        "   1 | net n(classes = 10)\n"
        "     | ^^^^^^^^^^^^^^^^^^^\n"
        "     = help: did you mean 'classes'? its parameters: classes."
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ten", "'ten' is not a value like 10."),
        ("10 classes", "'10 classes' is not a value like 10."),
        ("-3ep", "'-3ep' is not a value like 10."),
        ("", "'' is not a value like 10."),
        ("10k", "there is no unit 'k'."),
        ("9" * 30, f"the number {'9' * 30} is out of range."),
        ("9" * 5000, f"the number {'9' * 37}... is out of range."),
    ],
)
def test_a_define_of_the_wrong_kind(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as problem:
        parse_text(MAIN.format("relu"), "t.net", {"classes": text})
    (found,) = problem.value.diagnostics
    assert found.code == "E026"
    assert found.message == f"-D classes: {reason}"


def test_a_parameter_without_a_value() -> None:
    text = "net n(classes)\ninput i 1x8x8\nfc classes | softmax_loss"
    assert parse_text(text, "t.net", {"classes": "3"}).layers[0].options["filters"] == 3
    with pytest.raises(UsageError) as problem:
        parse_text(text)
    assert render(problem.value.diagnostics) == (
        "error[E026]: parameter 'classes' of 'n' has no value.\n"
        "  --> text.net:1:7\n"
        "   1 | net n(classes)\n"
        "     |       ^^^^^^^\n"
        "     = help: give it one with -D classes=VALUE."
    )


def test_kinds_of_defines() -> None:
    text = (
        'net n(k = 3, p = 1, s = false, e = 5, d = "a")\ninput i 1x8x8\n'
        "conv k 4 pad=p bias=s\nfc 3\nsoftmax_loss\ntrain { data idx(d) ; epochs e }"
    )
    defines = {"k": "1x7", "p": "same", "s": "true", "e": "9ep", "d": "/data/a b"}
    network = parse_text(text, "t.net", defines)
    assert network.layers[0].options["size"] == (1, 7)
    assert network.layers[0].options["pad"] == "same"
    assert network.layers[0].options["bias"] is True
    assert network.recipe.epochs == 9
    assert network.recipe.data is not None
    assert network.recipe.data.args == ("/data/a b",)
