"""`netc eval`, `netc predict` and `netc run --weights`, as a person calls them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from saved import newest

import netc_models
from netc.api.data import class_names
from netc.cli.main import main, parser
from netc.cli.session import load_bundle
from netc_runtime.io.checkpoint import latest, load, save
from netc_runtime.train.digits import digits

DIGITS = str(Path(netc_models.__file__).parent / "digits.net")
PETS = """
net pets(classes = 2)
input image 3x8x8
conv 3x3 4 pad=1 | bn | relu | avgpool global
fc classes
softmax_loss
train {{
    data imagefolder("{folder}")
    batch 6
    sgd lr=0.05 momentum=0.9
    epochs 3
}}
"""


def call(capsys, *arguments, code=0):
    """Run a verb with --json; its lines."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def error(capsys, *arguments, code):
    """The text of the diagnostics of a verb that ends with `code`; nothing else is printed."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def ink(index):
    """A held-out digit, 0 to 16, and its class."""
    held_out = digits().test
    return held_out.chunks[0][np.array([index])][0, 0], held_out.labels[index]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the checkpoint of a short training in float64."""
    folder = tmp_path_factory.mktemp("trained")
    options = ("--steps", "28", "--precision", "fp64", "--json", "--out", str(folder))
    assert main(["run", DIGITS, *options]) == 0
    return folder


@pytest.fixture
def pictures(tmp_path):
    """Twelve held-out digits as files, and their classes."""
    paths, labels = [], []
    for index in range(12):
        pixels, label = ink(index)
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8)).save(paths[-1])
        labels.append(str(label))
    return paths, labels


@pytest.fixture
def pets(tmp_path):
    """A network with running statistics, and pictures of cats and dogs to train it on."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pets"
    for split, count in (("train", 6), ("val", 4)):
        for number, name in enumerate(("cat", "dog")):
            place = folder / split / name
            place.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 100, (9, 12, 3)) + 150 * number * np.array([1, 0, 0])
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{index}.png")
    net = tmp_path / "pets.net"
    net.write_text(PETS.format(folder=folder))
    return net, folder


# --- eval ---


def test_eval_gives_what_the_training_ended_with(tmp_path, capsys):
    *_, ended = call(capsys, "run", DIGITS, "--steps", 20, "--out", tmp_path)
    (found,) = call(capsys, "eval", DIGITS, "--out", tmp_path)
    assert found["test_accuracy"] == ended["test_accuracy"]
    assert found["test_loss"] == ended["test_loss"]
    assert found["weights"] == str(latest(tmp_path)) == ended["checkpoint"]
    assert found["test_images"] == 360
    assert found["test_accuracy"] < found["top5_accuracy"] <= 1


def test_eval_says_which_weights_and_images(trained, capsys):
    assert main(["eval", DIGITS, "--out", str(trained)]) == 0
    out = capsys.readouterr().out
    assert f"weights   {latest(trained)}\n" in out
    assert "on 360 held-out images, top 5 " in out


def test_eval_with_running_statistics(tmp_path, capsys, pets):
    net, _ = pets
    *_, ended = call(capsys, "run", net, "--out", tmp_path / "out")
    (found,) = call(capsys, "eval", net, "--weights", tmp_path / "out")
    assert (found["test_loss"], found["test_images"]) == (ended["test_loss"], 8)
    assert found["top5_accuracy"] == 1


@pytest.mark.parametrize(
    "plan", [("--devices", 4), ("--devices", 3, "--strategy", "model"), ("--batch", 100),
             ("--devices", 2, "--batch", 7), ("--batch", 500)]
)  # fmt: skip
def test_eval_does_not_depend_on_the_plan(trained, capsys, plan):
    common = ("eval", DIGITS, "--weights", trained, "--precision", "fp64")
    (one,), (other,) = call(capsys, *common), call(capsys, *common, *plan)
    assert other["test_loss"] == pytest.approx(one["test_loss"], rel=1e-9)
    assert other["test_accuracy"] == one["test_accuracy"]
    assert other["top5_accuracy"] == one["top5_accuracy"]


def test_eval_needs_no_memory_for_training(tmp_path, capsys):
    """On this machine the batch cannot be trained; evaluation goes on to look for weights."""
    machine = ("vgg16", "--batch", "128", "--cluster", "k20")
    assert "error[E052]" in error(capsys, "compile", *machine, code=4)
    assert "error[E068]" in error(capsys, "eval", *machine, "--out", tmp_path, code=5)


# --- predict ---


def test_predict_sees_pictures_as_the_data_set(trained, capsys, pictures):
    """What a held-out image gives is what its picture gives: the network's own scores."""
    paths, labels = pictures
    found = call(capsys, "predict", DIGITS, *paths, "--out", trained, "--top", 10)
    assert [each["image"] for each in found] == list(map(str, paths))
    best = [each["classes"][0]["class"] for each in found]
    assert sum(a == b for a, b in zip(best, labels, strict=True)) >= 11
    for each in found:
        shares = [c["probability"] for c in each["classes"]]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize(
    "plan", [("--batch", 5), ("--devices", 4), ("--batch", 5, "--devices", 2, "--pin", "fc*=k"),
             ("--devices", 2, "--pin", "fc*=c"), ("--devices", 3, "--pin", "fc2=@1")]
)  # fmt: skip
def test_predict_does_not_depend_on_the_plan(trained, capsys, pictures, plan):
    paths, _ = pictures
    common = ("predict", DIGITS, *paths, "--weights", trained, "--precision", "fp64")
    for one, other in zip(call(capsys, *common), call(capsys, *common, *plan), strict=True):
        assert len(one["classes"]) == 5
        for a, b in zip(one["classes"], other["classes"], strict=True):
            assert (a["class"], a["index"]) == (b["class"], b["index"])
            assert b["probability"] == pytest.approx(a["probability"], rel=1e-9)


def test_predict_for_people(trained, capsys, pictures):
    paths, _ = pictures
    options = ("--out", str(trained), "--top", "1")
    assert main(["predict", DIGITS, str(paths[0]), *options]) == 0
    out = capsys.readouterr().out
    assert "pictures  the whole picture, white ink on black\n" in out
    assert out.splitlines()[-2] == str(paths[0])
    assert out.splitlines()[-1].endswith(" %  0")


def test_names_of_classes(tmp_path, capsys, pets):
    """From the file asked for; then the checkpoint, the data set, and numbers."""
    net, folder = pets
    call(capsys, "run", net, "--steps", 1, "--out", tmp_path / "out")
    picture = tmp_path / "a.png"
    Image.new("RGB", (30, 20), (250, 40, 40)).save(picture)

    def names(*options):
        (found,) = call(capsys, "predict", net, picture, "--out", tmp_path / "out", *options)
        return [c["class"] for c in sorted(found["classes"], key=lambda c: c["index"])]

    (tmp_path / "names.txt").write_text("felis catus\ncanis familiaris\n\n")
    assert names("--classes", tmp_path / "names.txt") == ["felis catus", "canis familiaris"]
    shutil.move(folder, tmp_path / "away")
    assert names() == ["cat", "dog"]
    file = newest(tmp_path / "out")
    tensors, meta = load(file)
    del meta["classes"]
    save(file, tensors, meta)
    assert names() == ["0", "1"]
    shutil.move(tmp_path / "away", folder)
    assert names() == ["cat", "dog"]
    for nonsense in ('["one"]', "{", '{"a": 1}', "[1, 2]", "[" * 100_000):
        save(file, tensors, meta | {"classes": nonsense})
        assert names() == ["cat", "dog"]


def test_without_a_data_set_the_picture_is_assumed_to_be_a_usual_one(tmp_path, capsys, pets):
    net, _ = pets
    call(capsys, "run", net, "--steps", 1, "--out", tmp_path / "out")
    bare = tmp_path / "bare.net"
    bare.write_text(net.read_text().split("train {")[0])
    picture = tmp_path / "a.png"
    Image.new("L", (8, 8), 77).save(picture)
    out = ("--weights", tmp_path / "out")
    (known,), (assumed,) = (call(capsys, "predict", n, picture, *out) for n in (net, bare))
    assert assumed == known
    assert main(["predict", str(bare), str(picture), *map(str, out)]) == 0
    said = "the centre of the picture, scaled as ImageNet's, as no data set is named"
    assert f"pictures  {said}\n" in capsys.readouterr().out


def test_a_compiled_program_predicts_without_the_compiler(trained, tmp_path, pictures):
    file = tmp_path / "digits.netc"
    assert main(["compile", DIGITS, "--devices", "2", "-o", str(file), "--json"]) == 0
    arguments = ["predict", str(file), str(pictures[0][0]), "--weights", str(trained), "--json"]
    script = (
        f"import sys; from netc.cli.main import main; code = main({arguments!r}); "
        "print([m for m in sys.modules if m.startswith(('netc.passes', 'netc.syntax'))]); "
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    found, loaded = done.stdout.splitlines()
    assert json.loads(found)["classes"][0]["class"] == "0"
    assert loaded == "[]"


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfa\r\nb\r\n", b"a\nb", b"a\r\nb\r\n\r\n", b" a \nb\n"]
)
def test_names_of_classes_as_editors_write_them(tmp_path, pets, content):
    """With a byte order mark, with line ends of Windows, with an empty line at the end."""
    net, _ = pets
    file = tmp_path / "names.txt"
    file.write_bytes(content)
    bundle = load_bundle(parser().parse_args(["predict", str(net), "a.png"]))
    assert class_names(None, bundle, tmp_path, str(file)) == ("a", "b")


def test_any_name_can_be_shown(trained, tmp_path, capsys):
    """A strict terminal, and other programs, get what is no UTF-8 escaped."""
    folder = tmp_path / os.fsdecode(b"w\xff")
    shutil.copytree(trained, folder)
    meta = {"classes": json.dumps([*"012345678", "\udcff\n"])}
    save(folder / "step-99999999.safetensors", load(newest(trained))[0], meta)
    picture = tmp_path / os.fsdecode(b"a\xfe\n.png")
    Image.new("L", (8, 8)).save(picture)
    options = ("predict", DIGITS, picture, "--weights", folder, "--top", 10)
    (found,) = call(capsys, *options)
    assert found["image"] == rf"{tmp_path}/a\xfe\n.png"
    assert r"\xff\n" in [each["class"] for each in found["classes"]]
    assert main([*map(str, options)]) == 0
    out = capsys.readouterr().out
    assert rf"weights   {tmp_path}/w\xff/step-99999999.safetensors" in out.splitlines()
    assert rf"{tmp_path}/a\xfe\n.png" in out.splitlines()
    picture.unlink()
    assert r"/a\xfe\n.png': No such file" in error(capsys, *options, code=5)


def test_a_terminal_that_lacks_characters_gets_them_escaped(pets):
    net, folder = pets
    folder.rename(folder.with_name("größe"))
    net.write_text(PETS.format(folder=folder.with_name("größe")))
    command = [sys.executable, "-m", "netc.cli.main", "run", net, "--steps", "1"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=net.parent, check=True
    )
    assert r"gr\xf6\xdfe', 12 training images" in done.stdout


# --- run --weights ---


def test_run_begins_with_the_weights_and_without_momentum(trained, tmp_path, capsys):
    """A step at rate 0 leaves all as it began."""
    options = ("--precision", "fp64", "--lr", 0, "--steps", 1, "--seed", 5)
    start, result = call(
        capsys, "run", DIGITS, "--weights", trained, "--out", tmp_path, *options, "--devices", 2
    )
    assert start["weights"] == str(latest(trained))
    assert "torch_names" not in start
    assert result["step"] == 1
    before, after = load(newest(trained))[0], load(newest(tmp_path))[0]
    assert before.keys() == after.keys()
    for name, value in before.items():
        wanted = np.zeros_like(value) if name.endswith(".velocity") else value
        assert np.array_equal(after[name], wanted), name
    assert any(value.any() for name, value in before.items() if name.endswith(".velocity"))


def test_missing_weights_are_fresh_ones(trained, tmp_path, capsys):
    tensors, _ = load(newest(trained))
    file = tmp_path / "part.safetensors"
    save(file, {k: v for k, v in tensors.items() if not k.startswith("fc2.")}, {})
    options = ("--precision", "fp64", "--lr", 0, "--steps", 1)
    text = error(capsys, "run", DIGITS, "--weights", file, "--out", tmp_path, *options, code=5)
    assert "fc2.weight" in text
    call(capsys, "run", DIGITS, "--out", tmp_path / "fresh", *options)
    part = ("--weights", file, "--allow-missing", "fc2.*")
    *_, ended = call(capsys, "run", DIGITS, *part, "--out", tmp_path / "given", *options)
    fresh, given = (load(newest(tmp_path / name))[0] for name in ("fresh", "given"))
    for name, value in given.items():
        wanted = fresh if name.startswith("fc2.") or name.endswith(".velocity") else tensors
        assert np.array_equal(value, wanted[name]), name
    (found,) = call(capsys, "eval", DIGITS, *part, "--precision", "fp64")
    assert found["test_loss"] == ended["test_loss"]


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", DIGITS, "--weights", "a", "--resume"], 2, "'--resume' goes on with one"),
        (["run", DIGITS, "--allow-missing", "*"], 2, "need '--weights'"),
        (["run", DIGITS, "--weights", "{tmp}"], 5, "error[E068]: there is no checkpoint in"),
        (["run", DIGITS, "--weights", "{tmp}/a"], 5, "error[E061]: cannot read"),
        (["eval", DIGITS, "--out", "{tmp}"], 5, "= help: train first, with 'netc run', or name"),
        (["eval", "pets", "--weights", "{trained}"], 2, "there is no file 'pets'"),
        (["predict", "lenet", "{good}"], 5, "error[E080]"),
        (["eval", "lenet", "--weights", "{trained}", "--data", "digits"], 5, "error[E067]"),
        (["eval", DIGITS, "--weights", "{trained}", "-D", "width=64"], 5, "error[E082]"),
        (["predict", DIGITS, "{good}", "--out", "{tmp}"], 5, "error[E068]: there is no checkpoint"),
        (["predict", DIGITS, "{good}", "--top", "0"], 2, "--top: must be a whole number"),
        (["predict", DIGITS, "{good}", "--classes", "{nine}"], 5, "names 9 classes; the network"),
        (["predict", DIGITS, "{good}", "--classes", "{good}"], 5, "error[E061]: cannot read"),
        (["predict", DIGITS, "{good}", "--data", "digit"], 5, "did you mean 'digits'?"),
        (["predict", DIGITS, "{good}", "--classes", "{gap}"], 5, "line 3 of '{gap}' is empty."),
        (["predict", DIGITS, "{good}", "--classes", "{good}"], 5, "in the encoding UTF-8"),
        (["predict", DIGITS, "{tmp}/none.png"], 5, "help: check that there is a file of this name"),
        (["eval", DIGITS, "--data", "idx('a', classes=1, classes=2)"], 2, "is not a data set."),
        (["eval", DIGITS, "--data", "idx(**{{}})"], 2, "is not a data set."),
        (["eval", DIGITS, "--data", "idx({{[]: 1}})"], 2, "is not a data set."),
        (["eval", DIGITS, "--data", "idx(" + "-" * 9999 + "1)"], 2, "is not a data set."),
        (["predict", "{odd}", "{good}"], 5, "the network takes images of 5 channels"),
    ],
)  # fmt: skip
def test_mistakes(trained, tmp_path, capsys, arguments, code, message):
    names = {"tmp": tmp_path, "trained": trained, "good": tmp_path / "good.png",
             "nine": tmp_path / "nine.txt", "odd": tmp_path / "odd.net",
             "gap": tmp_path / "gap.txt"}  # fmt: skip
    Image.new("L", (8, 8)).save(names["good"])
    names["nine"].write_text("a\n" * 9)
    names["gap"].write_text("a\nb\n\n" + "c\n" * 7)
    names["odd"].write_text("net odd()\ninput image 5x8x8\nfc 10\nsoftmax_loss\n")
    filled = [a.format(**names) for a in arguments]
    if "--out" not in arguments and "--weights" not in arguments and arguments[0] != "run":
        filled += ["--weights", str(trained)]
    assert message.format(**names) in error(capsys, *filled, code=code)


def test_all_unreadable_pictures_are_named_and_none_is_predicted(trained, tmp_path, capsys):
    good, torn, text = (tmp_path / name for name in ("good.png", "torn.png", "text.jpg"))
    Image.new("L", (8, 8)).save(good)
    torn.write_bytes(good.read_bytes()[:40])
    text.write_text("no picture")
    paths = (good, torn, text, tmp_path / "none.png", tmp_path)
    told = error(capsys, "predict", DIGITS, *paths, "--weights", trained, code=5)
    assert told.count("error[E066]") == 4
    assert "good.png" not in told
    (line,) = call(capsys, "predict", DIGITS, *paths, "--weights", trained, code=5)
    assert [d["code"] for d in line["diagnostics"]] == ["E066"] * 4


@pytest.mark.parametrize("verb", [("eval",), ("predict", "{picture}")])
@pytest.mark.parametrize(("name", "value", "code"), [
    ("fc2.bias", np.nan, "E086"), ("fc2.bias", np.inf, "E086"), ("fc1.weight", 3e38, "E075")
])  # fmt: skip
def test_weights_that_exploded(trained, tmp_path, capsys, verb, name, value, code):
    tensors, _ = load(newest(trained))
    tensors[name][3] = value
    save(tmp_path / "nan.safetensors", tensors, {})
    picture = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(picture)
    first, *rest = (word.format(picture=picture) for word in verb)
    (line,) = call(capsys, first, DIGITS, *rest, "--weights", tmp_path / "nan.safetensors", code=5)
    assert line["diagnostics"][0]["code"] == code
    if code == "E086":
        assert line["diagnostics"][0]["notes"] == ["fc2.bias: 1 of 10"]
