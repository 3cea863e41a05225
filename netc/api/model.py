"""A network as Python has it: `netc.load`, and what can be done with what that returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from netc.api.calls import checked_call, checked_calls
from netc.api.choices import (
    NAMES,
    ComparedWords,
    DiffWords,
    Names,
    PlanWords,
    counts_of,
    flag,
    number,
    one_of,
    plan_choices,
    words_of,
)
from netc.api.networks import read_network
from netc.api.shipped import lasting
from netc.api.train_choices import TRAIN_NAMES, TrainWords, patterns, train_choices
from netc.api.values import each_once, path_text, settings_text, shown, usage, value_text
from netc.errors import NetError, Source, UsageError, clip, did_you_mean
from netc.numbers import NATURAL
from netc.syntax import Network, network_text, parse_text, with_defaults
from netc.text import normalized

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from netc.api.compare import Comparison, Crossovers
    from netc.api.difference import PlanDifference
    from netc.api.explain import Explanation
    from netc.api.images import Images
    from netc.api.module_state import ModuleState
    from netc.api.plan import NetworkPlan
    from netc.api.profile import Profile
    from netc.api.program import DataWord, OpenTraining, RunnableProgram, Trained
    from netc.api.summary import Summary
    from netc.api.survey import WholeSurvey
    from netc.api.training import Callback
    from netc.api.tune import Tuning
    from netc_runtime.train.evaluate import Evaluation

SUFFIXES = (".net", ".onnx", ".safetensors")
"""Of files that `Model.save` writes."""
Tensors = Mapping[str, Any]
"""Arrays by netc's own names of weights and statistics, such as "conv1.weight"."""


class RunWords(PlanWords, TrainWords, total=False):
    """What may be said of a plan and of a training by it."""


@checked_calls
@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network, with weights where there are some. A value: what changes it returns another."""

    network: Network
    """What its file says."""
    file: str
    """By what it is found: a path, a shipped name, or empty where it comes from no file."""
    parameters: tuple[tuple[str, str], ...] = ()
    """What was given besides, by name, sorted."""
    tensors: Tensors | None = field(default=None, repr=False)
    """The weights and running statistics that it has, all or some; None for initial ones."""
    origin: ModuleState | None = field(default=None, repr=False)
    """What the module of PyTorch that it comes from calls its weights."""
    notes: tuple[str, ...] = ()
    """Where it learns, or predicts, otherwise than the model that it comes from would."""

    @property
    def name(self) -> str:
        """The network's name."""
        return self.network.name

    @property
    def text(self) -> str:
        """The network in its language, flat."""
        return network_text(self.network)

    def __repr__(self) -> str:
        """One line: name, parameters, layers."""
        told = ", ".join(f"{name}={value}" for name, value in self.parameters)
        weights = "" if self.tensors is None else ", with weights"
        shapes = " and ".join("x".join(map(str, each.shape)) for each in self.network.inputs)
        what = f"{self._layers()} layers, image {shapes}{weights}"
        return f"<netc.Model {self.name}({told}): {what}>"

    def _layers(self) -> int:
        """How many layers tables of it have: those that are written, and flattenings, which need
        not be; of a network whose shapes are wrong the former.
        """
        try:
            return len(self.summary().layers)
        except NetError:
            return len(self.network.layers)

    def with_weights(
        self,
        weights: Tensors | str | os.PathLike[str],
        *,
        allow_missing: Sequence[str] = (),
        allow_unexpected: Sequence[str] = (),
    ) -> Model:
        """The same network with weights: arrays, or a file, in netc's names or torchvision's; or a
        folder for its newest checkpoint.

        Patterns of `allow_missing` name weights that a file may lack or have in another shape,
        which get initial values; those of `allow_unexpected` tensors that no layer has. Raises
        NetError where weights do not fit the network.
        """
        from netc.api.fitting import fitting

        missing = patterns("allow_missing", allow_missing)
        unexpected = patterns("allow_unexpected", allow_unexpected)
        return replace(self, tensors=fitting(self.network, weights, missing, unexpected))

    def plan(self, **words: Unpack[PlanWords]) -> NetworkPlan:
        """Split the network over devices and compile it: of one where nothing is said.

        Words are the options of `netc plan`, with underscores: devices=4, strategy="auto",
        cluster="h100", pin={"fc*": "k"}. Without `cluster` and `backend` it is for what is here.
        Raises NetError for what is chosen wrongly, cannot be carried out or does not fit.
        """
        return self._planned(words, lambda: None)

    def _planned(self, words: PlanWords, most: Callable[[], int | None]) -> NetworkPlan:
        """The same, whose largest batch is no larger than `most` says."""
        # Imported here: who only reads networks needs nothing that runs them.
        from netc.api.listener import Notes
        from netc.api.plan import plan_of
        from netc.api.request import request

        notes, choices = Notes(), plan_choices(words)
        asked = request(self.network, self.parameters, choices, notes, most=most)
        made = plan_of(asked, notes, self._found())
        given = None if self.tensors is None else dict(self.tensors)
        return replace(made, tensors=given, share_gpus=choices.share_gpus)

    def explain(self, **words: Unpack[PlanWords]) -> Explanation:
        """What every layer of a plan costs, and what bounds it: `plan(...).explain()`."""
        return self.plan(**words).explain()

    def compare(
        self,
        *,
        devices: Sequence[int] | None = None,
        strategies: Sequence[str] | None = None,
        weak: bool = False,
        **words: Unpack[ComparedWords],
    ) -> Comparison:
        """Plans beside each other, by prediction: of so many devices each (1, 2, 4 and 8 where none
        are named), by strategies (all), under every scheme that they have.

        With `weak` the batch is a device's, and grows with them. Other words are those of `plan`.
        Raises NetError for what is chosen wrongly, or where nothing can be carried out.
        """
        from netc.api.compare import Compared, compare

        choices = plan_choices(words)
        counts = None if devices is None else counts_of("devices", devices)
        named = None if strategies is None else words_of("strategies", strategies)
        found = Compared(self.network, self.parameters, choices, flag("weak", weak))
        return compare(found, counts, named)

    def crossovers(
        self,
        small: str,
        large: str,
        /,
        *,
        devices: Sequence[int] = (2, 4, 8),
        **words: Unpack[ComparedWords],
    ) -> Crossovers:
        """For some numbers of devices, up to which batch one fixed strategy sends less than another
        one, and takes less time.
        """
        from netc.api.compare import Compared, crossovers, fixed_pair

        if "batch" in words:
            raise usage("a crossover goes over batches, and has no use for 'batch'.")
        found = Compared(self.network, self.parameters, plan_choices(words))
        pair = fixed_pair(words_of("strategies", [small, large]))
        return crossovers(found, counts_of("devices", devices), *pair)

    def diff(
        self,
        first: str | os.PathLike[str],
        second: str | os.PathLike[str],
        /,
        **words: Unpack[DiffWords],
    ) -> PlanDifference:
        """Two plans by their strategies, or their files: where they differ, and what each costs.
        Neither need fit a device; `NetworkPlan.diff` takes plans that were made.
        """
        from netc.api.difference import difference
        from netc.api.listener import Listener

        names = path_text("first", first), path_text("second", second)
        choices = plan_choices(words)
        return difference(self.network, self.parameters, choices, names, Listener())

    def run(self, *, callbacks: Sequence[Callback] = (), **words: Unpack[RunWords]) -> Trained:
        """Train to the end: `plan(...).run(...)`, with the words of both. A `batch` that is "auto"
        is no larger than the training images are many.
        """
        plan, train = _parted(words)
        return self._to_train(plan, train).run(callbacks=callbacks, **train)

    def train(
        self, *, callbacks: Sequence[Callback] = (), **words: Unpack[RunWords]
    ) -> OpenTraining:
        """Begin to train: `plan(...).train(...)`, with the words of both; as `run` otherwise."""
        plan, train = _parted(words)
        return self._to_train(plan, train).train(callbacks=callbacks, **train)

    def _to_train(self, plan: PlanWords, train: TrainWords) -> NetworkPlan:
        from netc.api.network_data import training_images

        data = train_choices(train).data
        return self._planned(plan, lambda: training_images(data, self.network))

    def predict(self, images: Images, **words: Unpack[PlanWords]) -> NDArray[np.float64]:
        """The probability of each class, (n, classes), of n images; see `OpenProgram.predict`.

        The plan is one for inference, of as many images unless `batch` says otherwise.
        """
        many = len(images) if hasattr(images, "__len__") else 0
        given: PlanWords = {"goal": "inference", **words}
        if many and "batch" not in given and not isinstance(images, Mapping):
            given["batch"] = min(many, with_defaults(self.network.recipe).batch)
        return self.plan(**given).predict(images)

    def evaluate(
        self, *, data: DataWord | None = None, skip_bad: int = 0, **words: Unpack[PlanWords]
    ) -> Evaluation:
        """Loss and accuracy over the held-out images of a data set, or of the recipe's."""
        given: PlanWords = {"goal": "inference", **words}
        return self.plan(**given).evaluate(data=data, skip_bad=skip_bad)

    def profile(self, *, steps: int = 10, **words: Unpack[PlanWords]) -> Profile:
        """What every layer of a training step takes here: `plan(...).profile(steps=...)`."""
        return self.plan(**words).profile(steps=steps)

    def tune(self, **words: Unpack[PlanWords]) -> Tuning:
        """Time the kernels that a plan could use here, those of the CPU or the GPU's; they are
        chosen by these times from then on, which are kept in netc's cache.

        Raises DeviceError (E077) where there is nothing to choose from; and as `plan`.
        """
        from netc.api.listener import Listener
        from netc.api.request import request
        from netc.api.tune import kernels_to_tune, tuned

        choices = plan_choices(words)
        choices = replace(choices, kernels=kernels_to_tune(choices))
        return tuned(request(self.network, self.parameters, choices, Listener()))

    def survey(self, data: DataWord | None = None) -> WholeSurvey:
        """Read every image of a data set once, or of the recipe's: what is in it, and what is bad.

        Raises DataError where the data set cannot be read.
        """
        from netc.api.network_data import network_data
        from netc.api.survey import surveyed
        from netc.api.train_choices import read_data

        given = None if data is None else read_data("data", data)
        return surveyed(*network_data(given, self.network))

    def weights(self, names: Names = "netc", *, seed: int | None = None) -> dict[str, Any]:
        """Weights and running statistics by netc's names, or PyTorch's, copied: its own, or initial
        ones, of the recipe's seed where none is given. Raises UsageError (E051) for the seed of
        weights that are all its own.
        """
        from netc.api.fitting import network_weights
        from netc.api.written import renamed
        from netc.interchange.names import torch_names

        one_of(NAMES)("names", names)
        key = None if seed is None else int(number(NATURAL)("seed", seed))
        found = network_weights(self.network, dict(self.tensors or {}), key)
        return renamed(found, torch_names(self.network) if names == "torch" else {})

    def state_dict(self, trained: RunnableProgram | None = None) -> dict[str, Any]:
        """What the module that the network comes from loads, `load_state_dict(...)`: tensors under
        its own names, of the network's weights or of what was trained. Counters and parts that
        the network does not have are as they were.

        Raises UsageError (E051) where it comes from no module; DataError for what was trained of
        another network (E080 to E082), or weights that the module has no place for (E097).
        """
        # Imported here: who only reads networks needs nothing that runs them.
        from netc.api.program import RunnableProgram

        if self.origin is None or self.tensors is None:
            message = "'state_dict' is of networks that come from PyTorch."
            hint = 'netc.from_torch(module) makes one; weights(names="torch") has others\'.'
            raise usage(message, hint)
        if not isinstance(trained, RunnableProgram | None):
            hint = "arrays are given by 'network.with_weights(weights).state_dict()'."
            raise usage(f"'trained' must be what 'run' returned, not {shown(trained)}.", hint)
        known = self if trained is None else self.with_weights(trained.weights())
        return self.origin.back(known.weights(), self.tensors)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        names: Names | None = None,
        batch: int | None = None,
        seed: int | None = None,
    ) -> None:
        """Write X.net, the network; X.onnx, that with its weights, for any number of images or a
        `batch` of so many; or X.safetensors, these by PyTorch's `names` or netc's. Weights that it
        has not are initial ones, of a `seed`.

        Raises NetError for another suffix, for words that it has no use for, or where the system
        refuses.
        """
        from netc.api.onnx import write_onnx
        from netc.api.writable import check_writable
        from netc.api.written import file_form, write_text, write_weights

        file = Path(path_text("path", path))
        form = file_form(file, SUFFIXES, "a network", names, batch)
        if seed is not None and form.suffix == ".net":
            raise usage("'--seed' is of initial values, and X.net has no weights.")
        check_writable(file)
        if form.suffix == ".net":
            write_text(file, self.text)
        elif form.suffix == ".onnx":
            write_onnx(file, self.network, self.weights(seed=seed), form.batch)
        else:
            write_weights(file, self.name, self.weights(form.names, seed=seed))

    def render(self) -> str:
        """The recipe in force, with every default and what each means, as a `train` block.

        Raises NetError where what it says of weights is wrong.
        """
        from netc.api.recipe import recipe_text

        return recipe_text(self.network)

    def summary(self) -> Summary:
        """Layers, parameters and multiply-adds; a table of them."""
        from netc.api.summary import Summary

        return Summary.of(self.network)

    def _found(self) -> str:
        """By what the network is found from anywhere."""
        return lasting(self.file) if self.file else ""


@checked_call
def load(
    network: str | os.PathLike[str],
    /,
    *,
    define: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | Sequence[str] = (),
    **parameters: object,
) -> Model:
    """Read a network: a path, or the name of one that netc ships.

    Its parameters are given by name (`classes=10`), or in `define` where Python has another use for
    the name; `settings` are of its recipe, such as {"train.epochs": 3}, as `--set` has them.

    Raises NetError: SyntaxProblem for what is wrong in the file, UsageError for the rest.
    """
    if isinstance(network, str) and "\n" in network:
        raise usage("'network' is a text, not a path or a name.", "'netc.parse(text)' reads it.")
    name, given = path_text("network", network), given_parameters(define, parameters)
    found = read_network(name, given, settings_text(settings), "load")
    return Model(found, name, tuple(sorted(given.items())))


@checked_call
def parse(
    text: str,
    /,
    *,
    define: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | Sequence[str] = (),
    **parameters: object,
) -> Model:
    """Read a network from a text in netc's language; paths that it includes start at the working
    directory. Otherwise as `load`.
    """
    given = given_parameters(define, parameters)
    if isinstance(text, str) and text and not any(map(str.isspace, text)):
        hint = "'netc.load(network)' reads files, and what netc ships."
        raise usage(f"'{clip(text)}' is a path or a name, not a network's text.", hint)
    found = parse_text(_text("text", text), defines=given, settings=settings_text(settings))
    return Model(found, "", tuple(sorted(given.items())))


@checked_call
def format(text: str, /) -> str:
    """A network's text in the canonical layout, as `netc fmt` writes files.

    Raises SyntaxProblem for what is wrong in it.
    """
    from netc.syntax.formatter import format_source

    return format_source(Source("text.net", normalized(_text("text", text))))


def _text(name: str, value: object) -> str:
    """A network's text; UsageError (E051) for what is none."""
    if not isinstance(value, str):
        raise usage(f"'{name}' must be a network's text, not {shown(value)}.")
    return value


def given_parameters(
    define: Mapping[str, object] | None, parameters: Mapping[str, object]
) -> dict[str, str]:
    """A network's parameters, as texts by name; UsageError (E051) where one is given twice."""
    if not isinstance(define, Mapping | None):
        raise usage(f"'define' must be parameters by name, not {shown(define)}.")
    values = (*(define or {}).items(), *parameters.items())
    return each_once((str(name), _parameter(str(name), value)) for name, value in values)


def _parameter(name: str, value: object) -> str:
    """A parameter's value as text; a word of `load` may be meant."""
    try:
        return value_text(name, value)
    except UsageError as problem:
        near = did_you_mean(name, ("define", "settings")).strip()
        raise UsageError(*(replace(each, help=near) for each in problem.diagnostics)) from None


def _parted(words: RunWords) -> tuple[PlanWords, TrainWords]:
    """Those of a plan, and those of a training."""
    plan = {name: value for name, value in words.items() if name not in TRAIN_NAMES}
    train = {name: value for name, value in words.items() if name in TRAIN_NAMES}
    return cast(PlanWords, plan), cast(TrainWords, train)
