"""Compiled program files that were edited, cut or made elsewhere: E073 and exit code 5."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netc.cli.main import main
from netc.ir.facts import plain_facts, read_facts
from netc.ir.load import read_bundle
from netc.ir.plain import TextError
from netc.ir.text import bundle_text
from netc_kernels import cpu
from netc_runtime.named import problem_of

NETWORK = """net small(classes = 5)
input image 1x8x8
conv 3x3 16 pad=1 | bn | relu | maxpool 2 | fc 12 | relu | dropout 0.3
fc classes
softmax_loss
train { data digits() ; batch 8 ; sgd lr=0.05 momentum=0.9 }
"""


def compiled(folder: Path, *options: str) -> str:
    source, made = folder / "small.net", folder / "small.netc"
    source.write_text(NETWORK)
    assert main(["compile", str(source), *options, "-o", str(made)]) == 0
    return made.read_text()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled(tmp_path_factory.mktemp("one"), "--kernels", "reference")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> str:
    options = ("--devices", "2", "--strategy", "hybrid", "--scheme", "b", "--kernels", "reference")
    return compiled(tmp_path_factory.mktemp("two"), *options)


def refused(text: str, pattern: str, new: str, why: str) -> None:
    """What the pattern matches first, replaced, is refused for that reason."""
    changed = re.sub(pattern, new, text, count=1)
    assert changed != text, f"nothing matches {pattern}"
    with pytest.raises(TextError, match=why):
        read_bundle(changed.encode())


def test_what_a_compiler_made_is_read(one: str, two: str) -> None:
    for text in (one, two):
        bundle = read_bundle(text.encode())
        assert bundle_text(bundle) == text
        assert not problem_of(bundle)


@pytest.mark.parametrize(
    ("pattern", "new", "why"),
    [
        (r"\Anetc bundle 8", "netc bundle 4", "version"),
        (r"\n", "\r\n", "version"),
        (r"\Z", "x", "incomplete"),
        (r"\nprogram small.eval", "\nbuffer small.eval", "incomplete"),
        (r"class_=0", "klass=0", r"line \d+: not the fields"),
        (r"class_=0", "", r"line \d+: not the fields"),
        (r"class_=0", "class_=0,0", "a field has several values"),
        (r"class_=0", 'class_="0"', "class_: not a number from 0 up"),
        (r"class_=0", "class_=true", "class_: not a number from 0 up"),
        (r"nbytes=\d+", "nbytes=" + "9" * 40, "nbytes: not a number from 0 up"),
        (r"nbytes=\d+", "nbytes=" + "9" * 9999, "cannot be read"),
        (r"seconds=[^ ]+", "seconds=NaN", "NaN is not a number"),
        (r"seconds=[^ ]+", "seconds=1e999", "not a finite number"),
        (r"seconds=[^ ]+", "seconds=-1", "not a duration"),
        (r"waits=\[\]", "waits=" + "[" * 99999 + "]" * 99999, "cannot be read"),
        (r"\],\{\},\[", '],{"a":[[[[[[[[[]]]]]]]]]},[', "nest too deeply"),
        (r"\],\{\},\[", "],[],[", "steps: not a step"),
        (r'"",false\]', '"",0]', "steps: not a step"),
        (r'"",false\]', '""]', "steps: not a step"),
        (r"steps=\[\[\"\w+\",\[", 'steps=[["",[', "steps: not a name"),
        (r"steps=\[\[\"(\w+)\",\[", r'steps=[["\1",[0.5,', "steps: not operands"),
        (r'joined=""', 'joined="other"', "joined: not one of"),
        (r'layer="\w+"', r'layer="\\u001b[31m"', "layer: not a text"),
        (r'dtype="f32"', 'dtype="f16"', "dtype: not one of"),
        (r'kind="persistent"', 'kind="lasting"', "kind: not one of"),
        (r'stream="compute"', 'stream="other"', "stream: not one of"),
        (r"mesh=\[1\]", "mesh=[0]", "no mesh of devices"),
        (r"mesh=\[1\]", "mesh=[99999]", "no mesh of devices"),
        (r'"image@0",0,\[8,1,8,8\],', '"image@0",0,[8,1,8,8,1],', "more dimensions"),
    ],
)  # fmt: skip
def test_what_is_no_program(one: str, pattern: str, new: str, why: str) -> None:
    refused(one, pattern, new, why)


@pytest.mark.parametrize(
    ("pattern", "new", "why"),
    [
        ('network "small"', 'network "../victim"', "fact network cannot be"),
        ('network "small"', 'network "/tmp/x"', "fact network cannot be"),
        ('network "small"', 'network "other"', "is not the program init of other"),
        (r"fact lr .*\n", "", "the facts are not those of a program: lr"),
        (r"fact lr .*", "fact lr -1", "fact lr cannot be -1"),
        (r"fact lr .*", "fact lr 1e999", "not a finite number"),
        (r"fact (lr .*)", r"fact lr 1\nfact \1", "the facts are not those of a program"),
        (r"fact seed 0", "fact seed 9223372036854775808", "fact seed cannot be"),
        (r"fact threads 0", "fact threads 99999", "fact threads cannot be"),
        (r"fact batch 8", "fact batch 9", "no input is"),
        (r'(program small\.eval[\s\S]*?inputs name=")image', r"\1lr", "no input is lr"),
        (r'(program small\.eval[\s\S]*?inputs name=")image', r"\1other", "different images"),
        (r'inputs name="seed"', 'inputs name="step"', "small.init: no input is step"),
        (r'inputs name="seed"', 'inputs name="count"', "small.init: no input is count"),
        (r'(\["ce_loss",.*?"batch":)8', r"\g<1>9", "ce_loss with batch 9, not 8"),
        (r'(\["init_normal",.*?"shape":)\[16', r"\1[17", "init_normal with shape"),
        (r"fact image .*", "fact image [1,8,9]", "its images are"),
        (r"fact classes 5", "fact classes 6", "it puts out fc2"),
        (r'fact scores "fc2"', 'fact scores "fc1"', "does not put out fc1"),
        (r"fact mesh \[1\]", "fact mesh [2]", "the mesh of the programs"),
        (r'fact precision "fp32"', 'fact precision "fp64"', "is of f32"),
        (r'fact precision "fp32"', 'fact precision "bf16"', "not for target cpu"),
        (r'fact target "cpu"', 'fact target "cuda"', "not for target cuda"),
        (r"fact torch_names {", 'fact torch_names {"a":"b",', "names what is no weight"),
        (r"fact data .*", "fact data [3,[],{}]", "fact data cannot be"),
        (r"fact schedule .*", "fact schedule 3", "fact schedule cannot be"),
    ],
)
def test_facts_are_complete_and_bounded(one: str, pattern: str, new: str, why: str) -> None:
    refused(one, pattern, new, why)


def test_every_fact_is_named_and_tested(one: str) -> None:
    facts = read_bundle(one.encode()).facts
    told = plain_facts(facts)
    assert list(told) == sorted(told)
    assert read_facts(told.items()) == facts
    wrongs: tuple[object, ...] = ([], -1.5, ("", 1))
    for name in told:
        for wrong in wrongs:
            with pytest.raises(TextError, match=f"the fact {name} cannot be"):
                read_facts((told | {name: wrong}).items())


TRAIN = r"(program small\.train[\s\S]*?)"


@pytest.mark.parametrize(
    ("pattern", "new", "why"),
    [
        (r'(name="conv1\.weight@0".*offset=)\d+', r"\1-40000000", "offset"),
        (r'(name="conv1\.weight@0".*offset=)\d+', r"\g<1>3", "M4"),
        (r'(name="relu1@0".*offset=)\d+', r"\g<1>262144000", "B4|share"),
        (r'(name="image@0" class_=)0', r"\g<1>1", "M4"),
        (r'(name="image@0" class_=0 nbytes=)\d+', r"\g<1>4", "M4"),
        (r'(buffer name=")image@0', r"\1other@0", "M4|M9"),
        (TRAIN + r'(inputs name="image".*?,\[)8,1,8,8\]', r"\1\g<2>4,1,8,8]", "M9|M4"),
        (TRAIN + r'(inputs name="labels".*?\[8\],\[)0\]', r"\1\g<2>1]", "M9"),
        (TRAIN + r'(state name="conv1\.weight".*? shape=\[)16', r"\1\g<2>17", "B2|M9"),
        (TRAIN + r'state name="conv1\.weight".*\n', r"\1", "M1|B2|M6|M9"),
        (TRAIN + r'(state name="conv1\.)weight', r"\1\2other", "B2"),
        (TRAIN + r'(state name="conv1\.weight".*? views=\[\[")conv1', r"\1\2no", "no buffer 'no.w"),
        (r'(\["init_normal".* writes=\[\[")conv1', r"\1no", "no buffer 'no.weight.initial@0'"),
        (r'(\["init_normal".* writes=\[)[^ ]*', r"\1]", "init_normal with shape"),
        (r'launch .*node="conv1\.weight\.initial".*\n', "", "M1|B3"),
        (TRAIN + r'("stride",?:?)?"stride":\[1,1\]', r'\1"stride":[2,2]', "M8"),
        (TRAIN + r'"pad":\[1,1,1,1\]', r'\1"pad":[1,1,1,3]', "M8"),
        (TRAIN + r'"pad":\[1,1,1,1\]', r'\1"pad":[1,1,1]', "M8"),
        (TRAIN + r'"groups":1', r'\1"groups":2', "M8"),
        (TRAIN + r'"groups":1', r'\1"groups":0', "M8"),
        (TRAIN + r'"first_filter":0', r'\1"first_filter":4', "M8"),
        (TRAIN + r'"filters":16', r'\1"filters":15', "M8"),
        (TRAIN + r'\["conv",\[0,1\]', r'\1["conv",[0,7]', "M8"),
        (TRAIN + r'\["conv",\[0,1\]', r'\1["conv",[-1,1]', "M8"),
        (TRAIN + r'\["conv",\[0,1\]', r'\1["conv",[0,2]', "M8.*no image"),
        (TRAIN + r'\["conv",\[0,1\]', r'\1["conv",[0]', "M8"),
        (TRAIN + r'\["conv",\[0,1\]', r'\1["fc",[0,1]', "M8"),
        (TRAIN + r'\["fc_dw"', r'\1["fc_dx"', "M8"),
        (TRAIN + r'\["fc_dw"', r'\1["no_such"', "M8.*no kernel 'no_such'"),
        (TRAIN + r'(\["fc_dw",\[0,1\],)\{\}', r'\1\2{"a":1}', "M8"),
        (TRAIN + r'\["fc_dw",\[0,1\],\{\},\[\d+', r'\1["fc_dw",[0,1],{},[1', "M8"),
        (TRAIN + r'(\["fc_dw".*?"",)false', r"\1\2true", "M8.*begins with no kernel"),
        (TRAIN + r'joined="" steps=\[\["fc_dw"', r'\1joined="sgd" steps=[["fc_dw"', "M8"),
        (TRAIN + r'steps=\[\["fc_dw"[^=]* reads', r"\1steps=[] reads", "M8"),
        (TRAIN + r'("maxpool_dx",.*?"size":)\[2,2\]', r"\1\2[2,4]", "M8"),
        (TRAIN + r'(\["sgd_velocity",.*?"momentum":)0\.9', r"\1\g<2>null", "M8"),
        (TRAIN + r'(\["sgd_apply".*?reads=\[\["[\w.]+@0",0,\[)\d+', r"\1\g<2>1", "M4|M8"),
        (TRAIN + r'(buffer name="conv1\.weight\.next@0".*offset=)\d+', r"\1\g<2>64", "M6|M3"),
        (TRAIN + r'(buffer name="conv1\.weight\.next@0".*storage=")conv1', r"\1\g<2>fc1", "M6"),
        (TRAIN + r'(node="fc1\.weight\.grad".*)in_place=\[\]', r"\1\g<2>in_place=[0]", "M8"),
    ],
)  # fmt: skip
def test_edited_programs(one: str, pattern: str, new: str, why: str) -> None:
    refused(one, pattern, new, why)


@pytest.mark.parametrize(
    ("pattern", "new", "why"),
    [
        (r"waits=\[\d[^\]]*\]", "waits=[]", "M2|M3"),
        (r"waits=\[\d[^\]]*\]", "waits=[99999]", "M5"),
        (r"collective classes=\[0,1\]", "collective classes=[0,0]", "M5"),
        (r"collective classes=\[0,1\]", "collective classes=[0,7]", "M5"),
        (r"collective classes=\[0,1\]", "collective classes=[0]", "M4|M5|M7"),
        (r'kind="all_reduce"', 'kind="broadcast"', "M7"),
        (r'(kind="all_reduce" op="sum" root=)-1', r"\g<1>0", "M7"),
        (r'(collective .*parts=)\[.*\] layer', r"\1[] layer", "M7"),
        (r'(collective .*?\["[\w.]+@0",0,\[)\d+', r"\g<1>3", "M4|M7"),
    ],
)  # fmt: skip
def test_edited_programs_of_two_devices(two: str, pattern: str, new: str, why: str) -> None:
    refused(two, pattern, new, why)


@pytest.mark.parametrize("name", ["image", "labels"])
@pytest.mark.parametrize("rows", ["[4,-4]", "[-1,4]", "[0,0]"])
def test_inputs_are_given_where_they_are_read(name: str, rows: str, tmp_path: Path) -> None:
    text = compiled(tmp_path, "--devices", "2", "--strategy", "data", "--kernels", "reference")
    refused(
        text, rf'(inputs name="{name}".*?\{{"\+":)\[0,4\]', rf"\1{rows}", "M4|M9|differs nowhere"
    )


def test_every_cut_is_noticed(two: str) -> None:
    lines = two.splitlines(keepends=True)
    for end in (*range(1, len(lines), 37), len(lines) - 1):
        for text in ("".join(lines[:end]), "".join(lines[:end])[:-1]):
            with pytest.raises(TextError):
                read_bundle(text.encode())


@pytest.mark.skipif(bool(cpu.available()), reason="fast kernels cannot run here")
def test_kernels_are_those_of_the_target_and_have_their_workspace(tmp_path: Path) -> None:
    text = compiled(tmp_path, "--kernels", "fast")
    assert not problem_of(read_bundle(text.encode()))
    smaller = re.sub(r'(name="[\w.]+\.workspace@0" class_=0 nbytes=)\d+', r"\g<1>64", text)
    smaller = re.sub(r'(\["[\w.]+\.workspace@0",0,\[)\d+', r"\g<1>16", smaller)
    assert "its workspace has 64 bytes" in problem_of(read_bundle(smaller.encode()))
    for old, new in (
        (r'(\["bn_dgamma",.*?)"vector"', r'\1"other"'),
        (r'(\["sgd_velocity",.*?)"vector"', r'\1""'),
        (r'(\["sgd_apply",.*?"",)true', r"\1false"),
        (r'(\["relu",\[-1\].*?"",)true', r"\1false"),
        (r'(\["maxpool_dx",.*?)"vector"', r'\1"direct"'),
    ):
        assert re.search(old, text)
        assert "there is no kernel" in problem_of(read_bundle(re.sub(old, new, text).encode()))


@pytest.mark.parametrize("content", [b"\xff", b"\r\n", b"", b"fact lr 1\n", b"\x00" * 99])
def test_the_command_says_what_to_do(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.netc"
    path.write_bytes(b"netc bundle 8" + content)
    assert main(["run", str(path)]) == 5
    said = capsys.readouterr().err
    assert "error[E073]: " in said
    assert "compile it again" in said


def test_the_command_refuses_kernels(
    one: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.netc"
    path.write_text(re.sub(r'(\["fc_dw",.*?)""', r'\1"other"', one))
    assert main(["run", str(path)]) == 5
    assert "there is no kernel fc_dw.other" in capsys.readouterr().err
