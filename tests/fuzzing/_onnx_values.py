"""What random ONNX models are made of: nodes, names, and constants in one of their forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSETS = (7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21)


class Values:
    """One model as far as it is made; every choice is drawn from `rng`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.opset = int(rng.choice(OPSETS))
        self.batch: int | None = self.pick(None, None, 2, 1)
        self.image = (int(rng.integers(1, 5)), *map(int, rng.integers(4, 10, 2)))
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.count = 0
        self.softmax = ""
        self.last = self.rarely(0.2)
        """Whether the images come with channels last."""

    def made(self, result: str) -> onnx.ModelProto:
        """The model that ends in a value."""
        images = [self.batch or "N", *self.fed]
        ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, images)]
        results = [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "g", ends, results, self.tensors)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.acme", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    @property
    def fed(self) -> tuple[int, ...]:
        """The shape of one image as the model takes it."""
        channels, height, width = self.image
        return (height, width, channels) if self.last else (channels, height, width)

    def shape(self, value: str) -> tuple[int, ...]:
        """Of one image's part of a value; the images' where it has no meaning."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        feeds = {"x": np.zeros((self.batch or 2, *self.fed), np.float32)}
        if value == "x":
            return self.fed
        try:
            model = self.made(value).SerializeToString()
            session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
            (result,) = session.run(None, feeds)
        except Exception:  # ONNX Runtime's errors have no common kind
            return self.image
        return tuple(result.shape[1:]) or (1,)

    def rarely(self, chance: float = 0.06) -> bool:
        return bool(self.rng.random() < chance)

    def pick(self, *forms: Any) -> Any:
        return forms[self.rng.integers(len(forms))]

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def node(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; its first result."""
        given = {key: value for key, value in attributes.items() if value is not None}
        names = [self.name() for _ in range(outputs)]
        label = self.name() if self.rarely(0.3) else ""
        domain = "com.acme" if self.rarely(0.002) else ""
        node = helper.make_node(op_type, inputs, names, name=label, domain=domain, **given)
        if self.rarely(0.01):
            node.attribute.append(helper.make_attribute(self.pick("axis", "pads", "mode"), 1))
        self.nodes.append(node)
        return names[0]

    def stored(self, array: Any, kind: Any = np.float32, computed: float = 0.03) -> str:
        """A constant: a tensor, a Constant, either passed on, or computed of constants."""
        array, name = np.asarray(array, kind), self.name()
        form = self.rng.random()
        if form < computed and kind == np.float32:
            return self.computed(array)
        if form < computed:
            other = self.stored(np.ones((), kind), kind)
            return self.node("Mul", self.stored(array, kind), other)
        if form < 0.7:
            self.tensors.append(numpy_helper.from_array(array, name))
            return name
        name = self.node("Constant", value=numpy_helper.from_array(array))
        if form < 0.95:
            return name
        return self.node("Identity", name)

    def computed(self, array: Any) -> str:
        """Of constants: by arithmetic, from 16 bits, turned, or filled with one number."""
        form = self.pick("Mul", "Cast", "Transpose", "Reshape", "ConstantOfShape", "Exp")
        if form == "Cast":
            return self.node("Cast", self.stored(array, np.float16), to=TensorProto.FLOAT)
        if form == "Transpose" and array.ndim:
            turned = list(range(array.ndim))[::-1]
            return self.node("Transpose", self.stored(array.T), perm=turned)
        if form == "Reshape":
            return self.node("Reshape", self.stored(array.reshape(-1)), self.whole(array.shape))
        if form == "ConstantOfShape" and self.opset >= 9:
            number = numpy_helper.from_array(np.array([self.pick(0.5, -0.25)], "f4"))
            return self.node(form, self.whole(array.shape), value=number)
        if form == "Exp" and self.rarely():
            return self.node("Exp", self.stored(array))
        other = self.stored(np.ones((), np.float32))
        return self.node("Mul", self.stored(array), other)

    def whole(self, numbers: Sequence[int]) -> str:
        return self.stored(numbers, np.int64)

    def random(self, *shape: int) -> str:
        fan = max(1, int(np.prod(shape[1:])))
        return self.stored(self.rng.standard_normal(shape) / np.sqrt(fan), computed=0.003)

    def listed(
        self, key: str, numbers: Sequence[int], since: int
    ) -> tuple[list[str], dict[str, Any]]:
        """An attribute that became an operand, or now and then the other way."""
        operand = (self.opset >= since) != self.rarely(0.01)
        return ([self.whole(numbers)], {}) if operand else ([], {key: list(numbers)})
