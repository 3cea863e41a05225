"""Flat text and back, and what `verify_network` objects to."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc import numbers
from netc.ir.optimizers import OPTIMIZERS
from netc.ir.schedules import SCHEDULES
from netc.syntax import (
    Call,
    InputSpec,
    Layer,
    NamedValues,
    Network,
    Recipe,
    network_text,
    parse_text,
    verify_network,
)
from netc.syntax.layers import COMBINING, KINDS, LOSS

SOURCE = """
net small(c = 4)
input image 3x32x32
block unit(n) { add { conv 3 n pad=same bias=false | bn ; identity } }
conv 5x3 c /2 pad=2x1 groups=2 std=0.01
repeat 2 { unit(c) | relu }
avgpool global
fc 10
softmax_loss
train { data digits() ; batch 8 ; sgd lr=0.1 ; schedule step(30ep, 0.1) ; augment shift(2) flip() }
"""

PRINTED = """\
net small

input image 3x32x32

conv1 := $image | conv 5x3 4 /2 pad=2x1 groups=2 std=0.01
unit1.conv1 := $conv1 | conv 3x3 4 pad=same bias=false
unit1.bn1 := $unit1.conv1 | bn
unit1.add1 := add { $unit1.bn1 ; $conv1 }
relu1 := $unit1.add1 | relu
unit2.conv1 := $relu1 | conv 3x3 4 pad=same bias=false
unit2.bn1 := $unit2.conv1 | bn
unit2.add1 := add { $unit2.bn1 ; $relu1 }
relu2 := $unit2.add1 | relu
avgpool1 := $relu2 | avgpool global
fc1 := $avgpool1 | fc 10
softmax_loss1 := $fc1 | softmax_loss

train {
    data digits()
    batch 8
    sgd lr=0.1 momentum=0.0 decay=0.0
    schedule step(every=30, gamma=0.1, warmup=0.0)
    augment shift(2) flip()
}
"""


def test_printed_text() -> None:
    network = parse_text(SOURCE)
    assert network_text(network) == PRINTED
    assert parse_text(PRINTED) == network


counts = st.integers(1, 10**6)
sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))
ends = st.tuples(*[st.integers(0, 20)] * 4).filter(lambda p: (p[0], p[2]) != (p[1], p[3]))
paddings = st.tuples(st.integers(0, 20), st.integers(0, 20)) | ends
reals = st.floats(0, 1e30, allow_subnormal=False)
positive = st.floats(1e-30, 1e30)
rates = st.floats(0, 0.999)
weights = {
    "bias": st.booleans(),
    "std": st.none() | reals,
    "bias_value": reals | reals.map(float.__neg__),
}
pool = {"size": sizes, "stride": sizes, "pad": paddings, "ceil": st.booleans()}
OPTIONS: dict[str, dict[str, st.SearchStrategy[object]]] = {
    "conv": {
        "size": sizes,
        "filters": counts.map(lambda n: 6 * n),
        "stride": sizes,
        "pad": paddings | st.just("same"),
        "groups": st.sampled_from([1, 2, 3]),
        **weights,
    },
    "fc": {"filters": counts, **weights},
    "maxpool": pool,
    "avgpool": pool | {"count_pad": st.booleans()},
    "dropout": {"rate": rates},
    "lrn": {"size": counts, "alpha": reals, "beta": reals, "k": positive},
    "bn": {"eps": positive, "momentum": rates, "group": st.none() | counts},
}
WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,5}(\.[a-z0-9]{1,3})?", fullmatch=True)
RESERVED = {"or", "and", "not", "net", "input", "block", "train", "repeat", "else", "if"}


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Draw a well-formed network; whatever nothing reads is concatenated at its end."""
    names = iter(
        draw(
            st.lists(
                WORDS.filter(lambda w: w not in RESERVED), min_size=12, max_size=12, unique=True
            )
        )
    )
    shape = st.tuples(st.integers(1, 9), st.integers(1, 99), st.integers(1, 99))
    inputs = tuple(InputSpec(next(names), draw(shape)) for _ in range(draw(st.integers(1, 2))))
    defined = [spec.name for spec in inputs]
    layers: list[Layer] = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(sorted(set(KINDS) - {LOSS})))
        count = draw(st.integers(2, 4)) if kind in COMBINING else 1
        values = {name: draw(value) for name, value in OPTIONS.get(kind, {}).items()}
        read = tuple(draw(st.sampled_from(defined)) for _ in range(count))
        layers.append(Layer(next(names), kind, NamedValues(tuple(values.items())), read))  # type: ignore[arg-type]
        defined.append(layers[-1].name)
    unread = [name for name in defined if all(name not in layer.inputs for layer in layers)]
    last = unread[0]
    if len(unread) > 1:
        layers.append(Layer(next(names), "concat", NamedValues(), tuple(unread)))
        last = layers[-1].name
    smoothing = draw(st.sampled_from((0.0, 0.1)))
    layers.append(Layer(next(names), LOSS, NamedValues.of(smoothing=smoothing), (last,)))
    return Network(next(names), inputs, tuple(layers), draw(recipes))


paths = st.text(st.characters(exclude_characters='"\n\r', exclude_categories=["Cs"]), min_size=1)
NUMBERS = {
    numbers.NON_NEGATIVE: reals,
    numbers.POSITIVE: positive,
    numbers.BELOW_ONE: rates,
    numbers.COUNT: counts,
    numbers.FRACTION: st.floats(0, 1),
    numbers.FACTOR: st.floats(1e-30, 1),
    numbers.DISTANCE: counts | positive,
    numbers.DURATION: counts | positive,
}


def calls(word: str, arguments: Sequence[numbers.NamedNumber]) -> st.SearchStrategy[Call]:
    """Of a word with all that it takes."""
    names = [each.name for each in arguments]
    values = st.tuples(*(NUMBERS[each.kind] for each in arguments))
    return values.map(
        lambda told: Call(word, (), NamedValues(tuple(zip(names, told, strict=True))))
    )


def optimizers(word: str) -> st.SearchStrategy[Call]:
    return calls(word, OPTIMIZERS[word].arguments)


def schedules(word: str) -> st.SearchStrategy[Call]:
    return calls(word, SCHEDULES[word].arguments)


crops = st.floats(0.01, 1).map(
    lambda n: Call("resized_crop", (), NamedValues.of(min=n, max=1.0, ratio=n))
)
changes = st.just(Call("flip")) | st.integers(1, 65_536).map(lambda n: Call("shift", (n,)))
mixes = st.sampled_from(["mixup", "cutmix"]).map(
    lambda word: Call(word, (), NamedValues.of(alpha=0.5, p=1.0))
)
recipes = st.builds(
    Recipe,
    data=st.none() | st.just(Call("digits")) | paths.map(lambda path: Call("idx", (path,))),
    batch=st.none() | counts,
    optimizer=st.none() | st.sampled_from(list(OPTIMIZERS)).flatmap(optimizers),
    schedule=st.none() | st.sampled_from(list(SCHEDULES)).flatmap(schedules),
    epochs=st.none() | counts,
    augment=st.tuples(
        st.lists(crops, max_size=1), st.lists(changes), st.lists(mixes, unique_by=str, max_size=2)
    ).map(lambda each: (*each[0], *each[1], *each[2])),
    seed=st.integers(0, 2**63 - 1),
    clip=st.none() | st.floats(1e-6, 1e6),
    ema=st.none() | st.floats(0, 0.9999),
    accumulate=st.integers(1, 9),
    weights=st.lists(
        st.builds(
            lambda pattern, decay, rate, frozen: Call(
                "weights",
                (pattern,),
                NamedValues.of(decay=decay, rate=rate, frozen=frozen),
            ),
            paths,
            st.none() | reals,
            st.floats(1e-6, 1e6),
            st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
)


@given(networks())
@settings(max_examples=150, deadline=None)
def test_printed_networks_parse_back(network: Network) -> None:
    verify_network(network)
    assert parse_text(network_text(network)) == network


def test_verify_objects() -> None:
    good = parse_text(SOURCE)
    first, second, *rest = good.layers
    wrong = [
        replace(good, layers=(first, replace(second, name=first.name), *rest)),
        replace(good, layers=(replace(first, name=""), second, *rest)),
        replace(good, layers=(second, first, *rest)),
        replace(good, layers=(first, second, replace(rest[0], kind="covn"), *rest[1:])),
        replace(good, layers=(replace(first, options=NamedValues()), second, *rest)),
        replace(good, layers=(replace(first, inputs=()), second, *rest)),
        replace(good, layers=(replace(first, inputs=("image", "image")), second, *rest)),
        replace(good, layers=good.layers[:-1]),
        replace(good, layers=(*good.layers, replace(first, name="extra"))),
        replace(good, inputs=(*good.inputs, InputSpec("other", (1, 8, 8)))),
        replace(good, inputs=(*good.inputs, *good.inputs)),
        replace(good, inputs=(InputSpec("image", (3, 0, 8)),)),
    ]
    verify_network(good)
    for network in wrong:
        with pytest.raises(AssertionError, match="verify_network"):
            verify_network(network)


def test_options_are_a_mapping() -> None:
    options = NamedValues.of(size=(3, 3), filters=8)
    assert options["filters"] == 8
    assert options.get("pad") is None
    assert dict(options) == {"size": (3, 3), "filters": 8}
    assert hash(options) == hash(NamedValues.of(size=(3, 3), filters=8))
    with pytest.raises(KeyError):
        options["pad"]
