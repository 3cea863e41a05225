"""TensorFlow's side of cpu.py: a tf.function, NHWC; mode `function`, or `xla` with jit_compile."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import bench_networks
import nhwc
import tensorflow as tf
from serve import DECAY, MOMENTUM, RATE, Case, serve


class Pass(nhwc.Pass):
    def conv(
        self, x: Any, _c: int, _k: int, _size: int, stride: int, pad: int, groups: int, bias: bool
    ) -> Any:
        # On the CPU there is no gradient of a grouped convolution.
        halves = zip(tf.split(x, groups, 3), tf.split(next(self.weights), groups, 3), strict=True)
        pads = [[0, 0], [pad, pad], [pad, pad], [0, 0]] if pad else "VALID"
        parts = [tf.nn.conv2d(a, w, stride, pads) for a, w in halves]
        y = tf.concat(parts, 3) if groups > 1 else parts[0]
        return tf.nn.bias_add(y, next(self.weights)) if bias else y

    def maxpool(self, x: Any, size: int, stride: int, pad: int) -> Any:
        # XLA has no pooling with explicit padding, and without XLA its gradient is slow.
        if pad:
            x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]], constant_values=x.dtype.min)
        return tf.nn.max_pool2d(x, size, stride, "VALID")

    def lrn(self, x: Any, size: int, alpha: float, beta: float, k: float) -> Any:
        return tf.nn.local_response_normalization(x, size // 2, k, alpha, beta)

    def bn(self, x: Any, _channels: int) -> Any:
        gamma, beta = next(self.weights), next(self.weights)
        running = next(self.running), next(self.running)
        factor = nhwc.MOMENTUM if self.training else 1.0
        y, *fresh = tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, *running, nhwc.EPSILON, "NHWC", self.training,
            exponential_avg_factor=factor,
        )  # fmt: skip
        if self.training:
            for old, new in zip(running, fresh, strict=True):
                old.assign(new)
        return y

    def dropout(self, x: Any, rate: float) -> Any:
        return tf.nn.dropout(x, rate) if self.training else x

    def relu(self, x: Any) -> Any:
        return tf.nn.relu(x)

    def fc(self, x: Any, _inputs: int, _outputs: int) -> Any:
        return tf.nn.bias_add(x @ next(self.weights), next(self.weights))

    def flatten(self, x: Any) -> Any:
        return tf.reshape(x, (len(x), -1))

    def global_average(self, x: Any) -> Any:
        return tf.reduce_mean(x, (1, 2))


def prepare(case: Case) -> Callable[[], object]:
    tf.config.threading.set_intra_op_parallelism_threads(case.threads)
    layers = bench_networks.layers(case.network)
    weights, running = (list(map(tf.Variable, f(layers))) for f in (nhwc.weights, nhwc.running))
    case.check(sum(w.shape.num_elements() for w in weights))
    images, labels = map(tf.constant, nhwc.images(case.batch, case.network))
    velocities = [] if case.forward else [tf.Variable(tf.zeros_like(w)) for w in weights]

    def scores(x: Any) -> Any:
        return Pass(weights, running, training=False).run(layers, x)

    def train(x: Any) -> Any:
        with tf.GradientTape() as tape:
            found = Pass(weights, running, training=True).run(layers, x)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, found)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, weights)
        for w, v, g in zip(weights, velocities, gradients, strict=True):
            tf.raw_ops.ResourceApplyMomentum(
                var=w.handle, accum=v.handle, lr=RATE, grad=g + DECAY * w, momentum=MOMENTUM
            )
        return loss

    run = tf.function(scores if case.forward else train, jit_compile=case.mode == "xla" or None)
    return lambda: run(images).numpy()


serve(prepare, tensorflow=tf.__version__)
