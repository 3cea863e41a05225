"""What each statement of the language expands to."""

import pytest

from netc.errors import SyntaxProblem
from netc.syntax import InputSpec, Layer, NamedValues, Network, parse_text, verify_network

HEAD = "net n(classes = 10, wide = false)\ninput image 3x32x32\n"
TAIL = "\nfc classes | softmax_loss\n"


def parse(body: str, **defines: str) -> Network:
    network = parse_text(HEAD + body + TAIL, "t.net", defines)
    verify_network(network)
    return network


def kinds(body: str, **defines: str) -> list[str]:
    return [layer.kind for layer in parse(body, **defines).layers[:-2]]


def wires(body: str, **defines: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(layer.name, layer.inputs) for layer in parse(body, **defines).layers[:-2]]


def only(body: str) -> Layer:
    (layer,) = parse(body).layers[:-2]
    return layer


def test_a_network() -> None:
    network = parse_text("net tiny\ninput image 1x8x8\nfc 10 bias=false\nsoftmax_loss\n")
    assert network == Network(
        "tiny",
        (InputSpec("image", (1, 8, 8)),),
        (
            Layer(
                "fc1",
                "fc",
                NamedValues.of(filters=10, bias=False, std=None, bias_value=0.0),
                ("image",),
            ),
            Layer("softmax_loss1", "softmax_loss", NamedValues.of(smoothing=0.0), ("fc1",)),
        ),
    )


CONV = {
    "size": (3, 3),
    "filters": 8,
    "stride": (1, 1),
    "pad": (0, 0),
    "groups": 1,
    "bias": True,
    "std": None,
    "bias_value": 0.0,
}
POOL = {"size": (3, 3), "stride": (3, 3), "pad": (0, 0), "ceil": False}
AVERAGE = POOL | {"count_pad": True}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("conv 3x3 8", CONV),
        ("conv 3 8", CONV),
        ("conv size=3 filters=8", CONV),
        ("conv 1x7 8", CONV | {"size": (1, 7)}),
        ("conv 3 8 /2", CONV | {"stride": (2, 2)}),
        ("conv 3 8 /2x1 pad=1x2", CONV | {"stride": (2, 1), "pad": (1, 2)}),
        ("conv 3 8 pad=same /2", CONV | {"stride": (2, 2), "pad": "same"}),
        ("conv /2 3 8", CONV | {"stride": (2, 2)}),
        ("conv 3 8 groups=2 bias=false", CONV | {"groups": 2, "bias": False}),
        ("conv 3 8 std=0.01 bias_value=-1", CONV | {"std": 0.01, "bias_value": -1.0}),
        ("maxpool 3", POOL),
        ("maxpool 3x3 /2 pad=1", POOL | {"stride": (2, 2), "pad": (1, 1)}),
        ("maxpool 3x2 ceil=true", POOL | {"size": (3, 2), "stride": (3, 2), "ceil": True}),
        ("maxpool 3 pad=0x1x0x1", POOL | {"pad": (0, 1, 0, 1)}),
        ("maxpool 3 pad=1x1x0x0", POOL | {"pad": (1, 0)}),
        ("avgpool 3", AVERAGE),
        ("avgpool 3 pad=1 count_pad=false", AVERAGE | {"pad": (1, 1), "count_pad": False}),
        ("avgpool global", AVERAGE | {"size": "global", "stride": (1, 1)}),
        ("conv 3x3 8 pad=1x0x2x0", CONV | {"pad": (1, 0, 2, 0)}),
        ("dropout .25", {"rate": 0.25}),
        ("dropout 0", {"rate": 0.0}),
        ("lrn", {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0}),
        ("lrn 3 alpha=5e-5 k=1", {"size": 3, "alpha": 5e-5, "beta": 0.75, "k": 1.0}),
        ("bn", {"eps": 1e-5, "momentum": 0.1, "group": None}),
        ("bn eps=1e-3 momentum=1 group=32", {"eps": 1e-3, "momentum": 1.0, "group": 32}),
        ("relu", {}),
        ("sigmoid", {}),
        ("tanh", {}),
        ("flatten", {}),
    ],
)
def test_options(text: str, options: dict[str, object]) -> None:
    layer = only(text)
    assert layer.kind == text.split()[0]
    assert dict(layer.options) == options
    for name, value in options.items():
        assert type(layer.options[name]) is type(value)


def test_a_chain_reads_on_over_lines() -> None:
    assert wires("conv 3 8 | relu\ntanh") == [
        ("conv1", ("image",)),
        ("relu1", ("conv1",)),
        ("tanh1", ("relu1",)),
    ]


@pytest.mark.parametrize("text", ["relu | tanh", "relu\n| tanh", "relu |\n\n  tanh", "relu;tanh"])
def test_ways_to_write_a_chain(text: str) -> None:
    assert kinds(text) == ["relu", "tanh"]


def test_layers_count_by_kind_and_repeats_go_on_counting() -> None:
    names = [name for name, _ in wires("conv 1 8\nrepeat 2 { conv 1 8 | relu }\nconv 1 8")]
    assert names == ["conv1", "conv2", "relu1", "conv3", "relu2", "conv4"]


def test_a_named_layer_counts_too() -> None:
    assert [name for name, _ in wires("conv 1 8\nstem := conv 1 8\nconv 1 8")] == [
        "conv1",
        "stem",
        "conv3",
    ]


def test_blocks_prefix_names_by_call() -> None:
    body = """
block unit(n) { conv 3x3 n pad=1 | relu }
block pair(n, again = n * 2) { unit(n) | unit(again) }
pair(8) | pair(8, again=4)
"""
    layers = parse(body).layers[:-2]
    assert [layer.name for layer in layers] == [
        f"pair{outer}.unit{inner}.{name}"
        for outer in (1, 2)
        for inner in (1, 2)
        for name in ("conv1", "relu1")
    ]
    assert [layer.options["filters"] for layer in layers[::2]] == [8, 16, 8, 4]


def test_blocks_may_be_defined_after_their_call_and_read_network_parameters() -> None:
    layers = parse("head()\nblock head { fc classes }").layers
    assert layers[0].name == "head1.fc1"
    assert layers[0].options["filters"] == 10


def test_names() -> None:
    body = "trunk := conv 1 8 | relu\ntanh\nadd { $trunk | conv 1 8 ; identity ; $trunk }"
    assert wires(body)[1:] == [
        ("trunk", ("conv1",)),
        ("tanh1", ("trunk",)),
        ("conv2", ("trunk",)),
        ("add1", ("conv2", "tanh1", "trunk")),
    ]


def test_a_name_for_a_block_call_names_its_layers_and_reads_its_last() -> None:
    body = "block b { relu | tanh }\nout := sigmoid | b()\nb()\nadd { $out ; identity }"
    assert wires(body)[-3:] == [
        ("b2.relu1", ("out.tanh1",)),
        ("b2.tanh1", ("b2.relu1",)),
        ("add1", ("out.tanh1", "b2.tanh1")),
    ]


def test_braces_group_the_lines_of_a_branch() -> None:
    body = "concat {\n{\na := relu\nb := tanh\n}\n{ sigmoid } | tanh\n{ }\n}"
    assert wires(body) == [
        ("a", ("image",)),
        ("b", ("a",)),
        ("sigmoid1", ("image",)),
        ("tanh2", ("sigmoid1",)),
        ("concat1", ("b", "tanh2", "image")),
    ]


def test_the_name_of_add_is_its_own() -> None:
    assert wires("sum := add { relu ; tanh }")[-1] == ("sum", ("relu1", "tanh1"))


def test_names_of_a_block_are_its_own() -> None:
    body = "block b { in := relu\nadd { $in ; tanh } }\nb()\nb()"
    assert [name for name, _ in wires(body)] == [
        f"b{call}.{name}" for call in (1, 2) for name in ("in", "tanh1", "add1")
    ]


def test_the_input_is_a_name() -> None:
    assert wires("relu\nconcat { $image ; identity }")[-1] == ("concat1", ("image", "relu1"))


def test_two_inputs() -> None:
    text = "net n\ninput a 1x8x8\ninput b 2 4 8\nrelu\nadd { $a ; identity }\nfc 3 | softmax_loss"
    network = parse_text(text)
    assert [spec.shape for spec in network.inputs] == [(1, 8, 8), (2, 4, 8)]
    assert network.layers[0].inputs == ("b",)


def test_branches_by_line_and_conditions_as_branches() -> None:
    body = """
block unit(project = false) {
    add {
        conv 1x1 8
        | relu
        if project { conv 1x1 8 }      # not taken: the identity
    }
}
unit() | unit(project=true)
"""
    assert [(name, read) for name, read in wires(body) if "add" in name] == [
        ("unit1.add1", ("unit1.relu1", "image")),
        ("unit2.add1", ("unit2.relu1", "unit2.conv2")),
    ]


@pytest.mark.parametrize(
    ("wide", "expected"), [("false", "tanh"), ("true", "relu"), ("3", "sigmoid")]
)
def test_conditions(wide: str, expected: str) -> None:
    body = "if wide == true { relu } else if wide == false { tanh }\nelse { sigmoid }"
    assert kinds(body, wide=wide) == [expected]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("12 / 3 / 2", 2),
        ("classes/2", 5),
        ("classes // 3", 3),
        ("-2 + 5", 3),
        ("-(2 - 5)", 3),
        ("16KiB", 16384),
        ("2 * classes", 20),
    ],
)
def test_arithmetic(expression: str, value: int) -> None:
    assert only(f"fc filters={expression}").options["filters"] == value


def test_floating_point_divides_as_usual() -> None:
    assert only("dropout rate=1.0 / 4").options["rate"] == 0.25


@pytest.mark.parametrize(
    ("condition", "taken"),
    [
        ("classes > 9", True),
        ("classes >= 11", False),
        ("classes < 10 or classes == 10", True),
        ("classes <= 10 and classes != 10", False),
        ("not wide", True),
        ("not wide and not classes == 10", False),
        ("wide == 0", False),
        ("3x3 == 3x3", True),
        ("wide and nonsense", False),
    ],
)
def test_comparisons(condition: str, taken: bool) -> None:
    assert kinds(f"if {condition} {{ relu }}") == ["relu"] * taken


def test_repeat_by_parameter_and_not_at_all() -> None:
    assert kinds("repeat classes // 4 { relu }\nrepeat 0 { tanh }") == ["relu", "relu"]


def test_calls_may_go_on_over_lines() -> None:
    body = "block b(n, m) { conv 1 n | conv 1 m }\nb(\n    8,   # first\n    m=4\n)"
    assert [layer.options["filters"] for layer in parse(body).layers[:2]] == [8, 4]


def test_a_size_as_an_argument() -> None:
    assert parse("block b(k) { conv k 8 }\nb(1x7)").layers[0].options["size"] == (1, 7)


def test_defines() -> None:
    assert parse("relu", classes="7").layers[-2].options["filters"] == 7


def test_spans_lead_to_the_layer_and_tell_how_it_came_there() -> None:
    body = "block stage(depth) {\n    repeat depth { conv 3 8 | relu }\n}\nstage(3)"
    layer = parse(body).layers[2]
    assert layer.span is not None
    assert layer.span.origin == "t.net:4:20"
    assert layer.span.source.text[layer.span.start : layer.span.end] == "conv 3 8"
    assert layer.span.trail == ("repeat 2 of 3", "in block 'stage', called at 6:1")


def test_spans_do_not_take_part_in_equality() -> None:
    assert parse("relu | tanh") == parse("\n\nrelu\n\ntanh # a comment")


def test_one_problem_does_not_hide_the_next_or_cause_another() -> None:
    body = "trunk := convv 3 8\nadd { $trunk | rellu ; tanhh }\nconv 3 8 padd=1 strid=2"
    with pytest.raises(SyntaxProblem) as problem:
        parse(body)
    places = [each.span.line for each in problem.value.diagnostics if each.span]
    assert places == [3, 4, 4, 5, 5]


@pytest.mark.parametrize(
    "body", ["rellu\n" * 100, "relu (\n" * 100, "block relu { }\n" * 100, "$image | relu\n" * 100]
)
def test_at_most_twenty_problems_are_shown(body: str) -> None:
    with pytest.raises(SyntaxProblem) as problem:
        parse(body)
    assert len(problem.value.diagnostics) == 20
