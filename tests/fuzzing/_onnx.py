"""Random ONNX models: images through a few layers to scores, each layer in one of its forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from netc.ir.onnx import OnnxForm
from netc.ir.ops import ACTIVATIONS

from ._onnx_values import Values


class Maker(Values):
    """One model, layer by layer."""

    def model(self) -> onnx.ModelProto:
        """From images to scores."""
        value = "x"
        if self.last:
            value = self.arithmetic(value, last=True) if self.rarely(0.2) else value
            value = self.turn(value, 0, 3, 1, 2)
        for _ in range(self.rng.integers(1, 5)):
            value = self.step(value)
        value = self.rows(value)
        for _ in range(self.rng.integers(0, 3)):
            value = self.row_step(value)
        return self.made(self.end(value))

    def turn(self, value: str, *perm: int) -> str:
        return self.node("Transpose", value, perm=perm)

    def arithmetic(self, value: str, last: bool = False) -> str:
        """With a constant a channel, or one for all; in a wrong shape now and then."""
        shape = self.shape(value)
        channels = shape[-1] if last or len(shape) == 1 else shape[0]
        forms = [(), (1,), (1,) * (len(shape) + 1)]
        ones = (1,) * (0 if last else len(shape) - 1)
        forms += [(channels, *ones)] * 3 + [(1, *(1,) * len(shape[1:]), channels)] * last
        if self.rarely():
            forms = [shape, (1, *shape), (channels,)]
        array = self.rng.random(self.pick(*forms)) + 0.5
        op_type = self.pick("Add", "Sub", "Mul", "Div")
        if op_type == "Div" and not self.rarely(0.02):
            return self.node(op_type, value, self.stored(array))
        return self.both_ways(op_type, value, self.stored(array))

    def constants(self, value: str) -> str:
        """Some arithmetic, behind a convolution mostly."""
        value = self.conv(value) if self.rarely(0.6) else value
        for _ in range(self.rng.integers(1, 3)):
            value = self.arithmetic(value)
        return value

    def detour(self, value: str) -> str:
        """With channels last for a while."""
        value = self.turn(value, *self.pick(*[(0, 2, 3, 1)] * 9, (0, 1, 3, 2)))
        for _ in range(self.rng.integers(0, 3)):
            value = self.pick(self.same, self.dropout, lambda x: self.arithmetic(x, last=True),
                              self.pad_last, self.join_last)(value)  # fmt: skip
        return value if self.rarely(0.02) else self.turn(value, 0, 3, 1, 2)

    def pad_last(self, value: str) -> str:
        """What the Transpose back is followed by takes it over, or not."""
        if not self.rarely(0.1):
            return value
        inputs, given = self.listed("pads", [0, 1, 0, 0, 0, 1, 1, 0], 11)
        return self.node("Pad", value, *inputs, **given)

    def join_last(self, value: str) -> str:
        axis = 1 if self.rarely() else self.pick(3, -1)
        return self.node(self.pick("Concat"), value, self.same(value), axis=axis)

    def cast(self, value: str) -> str:
        to = TensorProto.INT32 if self.rarely() else TensorProto.FLOAT
        return self.node("Cast", value, to=to)

    def step(self, value: str) -> str:
        """One layer over images."""
        steps = (self.conv, self.conv, self.maxpool, self.avgpool, self.avgpool, self.pad, self.pad,
                 self.same, self.norm, self.lrn, self.spelled_lrn, self.dropout, self.branch,
                 self.constants, self.constants, self.detour, self.cast)  # fmt: skip
        return self.pick(*steps)(value)

    def window(self, size: Sequence[int]) -> dict[str, Any]:
        """Attributes that convolutions and pools share."""
        given: dict[str, Any] = {"strides": self.pick(None, [1, 1], [2, 2], [3, 1], [2, 3])}
        if self.rarely(0.15):
            given["auto_pad"] = self.pick("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
        if self.rarely(0.7) and given.get("auto_pad") in (None, "NOTSET"):
            given["pads"] = self.pads(size)
        if self.rarely(0.05):
            given["dilations"] = self.pick([1, 1], [2, 1])
        return given

    def size_of_window(self, value: str, limit: int) -> list[int]:
        """Mostly not larger than the image."""
        more = int(self.rarely(0.03))
        extents = (min(extent, limit) + more for extent in self.shape(value)[1:])
        return [int(self.rng.integers(1, max(each, 1) + 1)) for each in extents]

    def pads(self, size: Sequence[int]) -> list[int]:
        top, left = (int(self.rng.integers(0, min(each, 3))) for each in size)
        form = self.rng.random()
        if form < 0.7:
            return [top, left, top, left]
        if form < 0.9:
            return [top, left, top + self.pick(0, 1), left + self.pick(0, 1)]
        return [int(n) for n in self.rng.integers(-1 if self.rarely(0.1) else 0, 3, 4)]

    def conv(self, value: str) -> str:
        channels = self.shape(value)[0]
        size = self.size_of_window(value, 3)
        groups = self.pick(1, 1, channels)
        filters = groups * int(self.rng.integers(1, 3))
        bias = [self.random(filters)] if self.rarely(0.5) else []
        given = self.window(size) | {"group": self.pick(None, 1) if groups == 1 else groups}
        given["kernel_shape"] = self.pick(None, size)
        weight = self.random(filters, channels // groups, *size)
        value = self.node("Conv", value, weight, *bias, **given)
        if self.rarely(0.2):
            value = self.identity(value)
            bias_shape = self.pick((filters, 1, 1), (1, filters, 1, 1), (1,), (filters, 1, 1))
            return self.both_ways("Add", value, self.random(*bias_shape))
        return value

    def both_ways(self, op_type: str, one: str, other: str) -> str:
        return self.node(op_type, *self.pick((one, other), (other, one)))

    def maxpool(self, value: str) -> str:
        size = self.size_of_window(value, 4)
        given = self.window(size)
        if given.get("auto_pad", "NOTSET") == "NOTSET" or self.rarely():
            given |= self.rounding()
        outputs = 2 if self.rarely(0.1) else 1
        if self.opset >= 8 and self.rarely(0.1):
            given["storage_order"] = self.pick(0, 1)
        return self.node("MaxPool", value, outputs=outputs, kernel_shape=size, **given)

    def avgpool(self, value: str) -> str:
        size = self.size_of_window(value, 4)
        given = self.window(size)
        if given.get("auto_pad", "NOTSET") == "NOTSET" or self.rarely():
            given |= self.rounding()
        counts = self.pick(None, 0, 1)
        return self.node("AveragePool", value, kernel_shape=size, count_include_pad=counts, **given)

    def rounding(self) -> dict[str, Any]:
        return {"ceil_mode": self.pick(0, 1, 1)} if self.opset >= 10 and self.rarely(0.5) else {}

    def pad(self, value: str) -> str:
        """Zeros, and mostly what takes them over."""
        sides = self.pads((3, 3))
        pads = [0, 0, *sides[:2], 0, 0, *sides[2:]]
        if self.rarely():
            pads[self.pick(0, 1, 4, 5)] = 1
        inputs, given = self.listed("pads", pads, 11)
        if inputs and self.rarely(0.3):
            inputs.append("" if self.rarely(0.3) else self.stored(0.5 if self.rarely() else 0.0))
        elif not inputs and self.rarely(0.3):
            given["value"] = 0.5 if self.rarely() else 0.0
        if self.rarely(0.3):
            given["mode"] = "constant" if self.rarely(0.9) else self.pick("reflect", "edge")
        value = self.node("Pad", value, *inputs, **given)
        return value if self.rarely() else self.pick(self.conv, self.avgpool)(value)

    def same(self, value: str) -> str:
        """Layers that keep the shape."""
        known = [each.onnx for each in ACTIVATIONS.values() if each.onnx.since <= self.opset]
        form = self.pick(*known, OnnxForm("Identity"))
        return self.node(form.op_type, value, **dict(form.attributes))

    def identity(self, value: str) -> str:
        return self.node("Identity", value) if self.rarely(0.3) else value

    def norm(self, value: str) -> str:
        channels = self.shape(value)[0]
        variance = self.stored(self.rng.random(channels) + 0.5)
        given: dict[str, Any] = {"epsilon": self.pick(None, 1e-3), "momentum": self.pick(None, 0.8)}
        if self.opset < 9 and self.rarely(0.3):
            given["spatial"] = self.pick(0, 1, 1)
        if self.opset >= 14 and self.rarely(0.3):
            given["training_mode"] = int(self.rarely(0.2))
        outputs = self.pick(3, 5) if self.rarely(0.03) else 1
        three = (self.random(channels) for _ in range(3))
        return self.node("BatchNormalization", value, *three, variance, outputs=outputs, **given)

    def lrn(self, value: str) -> str:
        given = {
            "alpha": self.pick(None, 0.5),
            "beta": self.pick(None, 0.6),
            "bias": self.pick(None, 2.0),
        }
        return self.node("LRN", value, size=4 if self.rarely() else self.pick(1, 3, 5), **given)

    def spelled_lrn(self, value: str) -> str:
        """As PyTorch writes it, with a fault now and then."""
        shape, size = self.shape(value), self.pick(2, 3, 4, 5)
        if self.opset < 11:
            return self.lrn(value)
        channels, height, width = shape
        rows = [self.batch or 0, 1, channels, height, -1]
        if self.rarely():
            rows = [self.batch or 0, 1, height, channels, width]
        squares = self.node("Mul", value, value)
        if self.rarely(0.3):
            squares = self.node("Pow", value, self.stored(3.0 if self.rarely() else 2.0))
        mean = self.node("Reshape", squares, self.whole(rows))
        first = size // 2 + (1 if self.rarely() else 0)
        around = [0, 0, first, 0, 0, 0, 0, (size - 1) // 2, 0, 0]
        mean = self.node("Pad", mean, self.whole(around), *[self.stored(0.0)] * self.pick(0, 1))
        mean = self.node("AveragePool", mean, kernel_shape=[size, 1, 1], strides=[1, 1, 1])
        inputs, given = self.listed("axes", [1], 13)
        mean = self.node("Squeeze", mean, *inputs, **given)
        mean = self.node("Reshape", mean, self.whole([self.batch or 0, channels, height, width]))
        for op_type, number in (("Mul", 0.7), ("Add", 1.5), ("Pow", self.pick(0.75, 0.6))):
            mean = self.node(op_type, mean, self.stored(number, computed=0.005))
        return self.node("Div", value, mean)

    def dropout(self, value: str) -> str:
        ratio, outputs = self.pick(None, 0.3, 0.5, 0.0), 2 if self.rarely(0.2) else 1
        if self.opset < 12:
            return self.node("Dropout", value, outputs=outputs, ratio=ratio)
        inputs = [] if ratio is None else [self.stored(ratio)]
        if self.rarely(0.4):
            inputs = [*(inputs or [""]), self.stored(self.rarely(0.2), np.bool_)]
        seed = self.pick(None, None, 3)
        return self.node("Dropout", value, *inputs, outputs=outputs, seed=seed)

    def branch(self, value: str) -> str:
        """Results that meet."""
        channels = self.shape(value)[0]
        other = self.node("Conv", value, self.random(channels, channels, 1, 1))
        values = [self.same(value), other, *[value] * self.pick(0, 0, 1)]
        if self.rarely(0.03):
            values.append(self.node("GlobalAveragePool", value))
        if self.rarely(0.1):
            # What is added to one branch must not reach the other.
            changed = self.node("Add", self.identity(other), self.random(channels, 1, 1))
            values = [other, changed]
        if self.rarely(0.4):
            return self.node("Concat", *values, axis=2 if self.rarely() else self.pick(1, 1, -3))
        return self.node("Add" if len(values) == 2 else "Sum", *values)

    def rows(self, value: str) -> str:
        """Images to rows."""
        forms = (self.flat, self.flat, self.reshape, self.reshape, self.chain, self.chain,
                 self.average, self.average)  # fmt: skip
        if self.rarely(0.15):
            value = self.turn(value, 0, 2, 3, 1)
            value = self.same(value) if self.rarely(0.5) else value
            return self.gemm(self.pick(self.flat, self.reshape, self.chain)(value))
        if self.rarely(0.15):
            value = self.other_dims(value)
        return self.pick(*forms)(value)

    def other_dims(self, value: str) -> str:
        """Dimensions before a flatten that mean nothing."""
        shape = self.shape(value)
        whole = int(np.prod(shape))
        wanted = self.pick([0, 1, 1, whole], [0, whole, 1, 1], [-1, shape[0], 1, whole // shape[0]])
        value = self.node("Reshape", value, self.whole(wanted))
        return self.same(value) if self.rarely(0.5) else value

    def flat(self, value: str) -> str:
        axis = self.pick(0, 2, -1, -2) if self.rarely() else self.pick(None, 1)
        if self.opset >= 11 and axis == 1 and self.rarely(0.3):
            axis = 1 - len(self.shape(value)) - 0 if self.rarely(0.1) else -len(self.shape(value))
        return self.node("Flatten", value, axis=axis)

    def reshape(self, value: str) -> str:
        features = int(np.prod(self.shape(value)))
        wanted = self.pick([0, -1], [-1, features], [0, features], [self.batch or 0, -1])
        if self.rarely(0.12):
            wanted = self.pick(
                [1, -1], [-1, 0], [2, -1], [features, -1], [-1, 1], [0, 0, -1], [2, features]
            )
        zero = {"allowzero": self.pick(0, 1)} if self.opset >= 14 and self.rarely(0.2) else {}
        return self.node("Reshape", value, self.whole(wanted), **zero)

    def chain(self, value: str) -> str:
        """A shape put together of what Shape says."""
        features = int(np.prod(self.shape(value)))
        parts = [self.size(value, 1 if self.rarely() else 0), self.whole([self.pick(-1, features)])]
        if self.rarely(0.15):
            parts[1] = self.node("Mul", self.node("Mul", self.size(value, 1), self.size(value, 2)),
                                 self.size(value, 3))  # fmt: skip
        if self.rarely():
            parts = [self.pick(*parts) for _ in parts]
        if self.rarely():
            parts.reverse()
        wanted = self.node("Concat", *parts, axis=0)
        if self.rarely(0.2):
            wanted = self.node("Cast", wanted, to=TensorProto.INT64)
        return self.node("Reshape", value, wanted)

    def size(self, value: str, place: int) -> str:
        """One number of a shape, in a list."""
        shape = self.node("Shape", value)
        if self.opset >= 15 and self.rarely(0.3):
            return self.node("Shape", value, start=place, end=place + 1)
        if self.opset >= 10 and self.rarely(0.3):
            bounds = self.whole([place]), self.whole([place + 1])
            return self.node("Slice", shape, *bounds, *[self.whole([0])] * self.pick(0, 1))
        if self.rarely(0.5):
            return self.node("Gather", shape, self.whole([place - self.pick(0, 0, 4)]))
        number = self.node("Gather", shape, self.stored(place, np.int64), axis=self.pick(None, 0))
        inputs, given = self.listed("axes", [0], 13)
        return self.node("Unsqueeze", number, *inputs, **given)

    def average(self, value: str) -> str:
        """One number a channel."""
        if self.rarely(0.4):
            axes = (
                self.pick([1, 2], [2], [1, 2, 3]) if self.rarely() else self.pick([2, 3], [-1, -2])
            )
            inputs, given = self.listed("axes", axes, 18)
            if self.rarely(0.05):
                inputs, given = [], {}
            keeps = self.pick(None, 0, 0, 1)
            value = self.node("ReduceMean", value, *inputs, keepdims=keeps, **given)
        else:
            value = self.node("GlobalAveragePool", value)
        if len(self.shape(value)) == 1:
            return value
        if self.rarely(0.5):
            return self.pick(self.flat, self.reshape, self.chain)(value)
        axes = self.pick([2], [3, 2], [-1, -2]) if self.rarely(0.3) else [2, 3]
        inputs, given = self.listed("axes", axes, 13)
        return self.node("Squeeze", value, *([] if self.rarely() else inputs), **given)

    def row_step(self, value: str) -> str:
        """One layer over rows."""
        steps = (self.gemm, self.gemm, self.matmul, self.same, self.dropout, self.norm,
                 self.arithmetic)  # fmt: skip
        return self.pick(*steps)(value)

    def gemm(self, value: str) -> str:
        features, filters = self.shape(value)[0], int(self.rng.integers(1, 6))
        turned = self.pick(None, 0, 1)
        weight = self.random(*((filters, features) if turned else (features, filters)))
        bias = [self.random(*self.pick((filters,), (1, filters), (1,)))]
        if self.opset >= 11 and self.rarely(0.3):
            bias = []
        odd = {self.pick("alpha", "beta"): self.pick(1.0, 0.5)} if self.rarely(0.15) else {}
        if self.rarely(0.03):
            odd["transA"] = self.pick(0, 1)
        return self.node("Gemm", value, weight, *bias, transB=turned, **odd)

    def matmul(self, value: str) -> str:
        features, filters = self.shape(value)[0], int(self.rng.integers(1, 6))
        if self.rarely(0.3):
            weight = self.node(
                "Transpose", self.random(filters, features), perm=self.pick(None, [1, 0])
            )
        else:
            weight = self.random(features, filters)
        value = self.node("MatMul", value, weight)
        if self.rarely(0.5):
            shape = self.pick((filters,), (1, filters), (1, 1), ())
            return self.both_ways("Add", value, self.random(*shape))
        return value

    def end(self, value: str) -> str:
        """Maybe a softmax, maybe over something else than rows."""
        if not self.last and self.rarely(0.1):
            channels = self.shape(value)[0]
            value = self.node(
                "GlobalAveragePool",
                self.node("Conv", "x", self.random(channels, self.fed[0], 1, 1)),
            )
        if self.rarely(0.4):
            self.softmax = self.pick("Softmax", "Softmax", "LogSoftmax")
            axis = (
                self.pick(0, 2, 3, -2)
                if self.rarely(0.1)
                else self.pick(None, 1, 1, -len(self.shape(value)))
            )
            value = self.node(self.softmax, value, axis=axis)
        return self.identity(value)
