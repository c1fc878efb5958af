"""A network, its data and its loss as pure functions of arrays (the `Task` protocol of `types`)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from mulo.models.layers import Network, run
from mulo.parametrization import Parametrization, Role, RoleRule
from mulo.types import Array, Batch, Dataset, Layer, Multiplier, Multipliers, Params

FULL_LOSS_EXAMPLES = 10_000
"""How many fixed examples of a split `full_loss` averages over (all there are, if fewer)."""
FULL_LOSS_LABELS = 32_768
"""At most this many labels, where an example has several, as text has."""
_CHUNK_FLOATS = 4_000_000
"""`full_loss` goes through the examples in chunks whose widest activation has at most this many floats."""


@dataclass(frozen=True)
class NetworkParameter:
    """One parameter, known before it is drawn."""

    role: Role
    shape: tuple[int, ...]
    fan_in: int
    kernel_area: int
    rule: RoleRule
    init_std: float
    """The rule's, times the layer's gain."""

    @property
    def multiplier(self) -> Multiplier:
        """Of its updates; convolutions are [*kernel, fan_in, fan_out]."""
        axes = "w" * (len(self.shape) - 2) + "io" if len(self.shape) > 1 else None
        return replace(self.rule.update, axes=axes, shape=self.shape)


@dataclass(frozen=True, eq=False)
class SupervisedTask:
    """Predicts the labels of a dataset's examples with a Flax NNX model under softmax cross-entropy.

    Attributes:
        architecture: of the network, such as `mlp`.
        build: makes the network from its `nnx.Rngs`; called under a trace.
        dataset: where the batches come from.
        batch_size: examples per minibatch.
        parametrization: of the model.
        width: the model's width, for reports.
        depth: number of its hidden layers or blocks, for reports.
    """

    architecture: str
    build: Callable[[nnx.Rngs], Network]
    dataset: Dataset
    batch_size: int
    parametrization: Parametrization
    width: int
    depth: int

    @property
    def name(self) -> str:
        """Such as `mlp_w128_d3`."""
        return f"{self.architecture}_w{self.width}_d{self.depth}"

    @cached_property
    def _abstract(self) -> tuple[Any, Any]:
        return nnx.split(nnx.eval_shape(lambda: self.build(nnx.Rngs(0))))

    @property
    def data(self) -> Any:
        """The dataset's device arrays."""
        return self.dataset.arrays

    def data_at(self, position: int) -> Any:
        """The dataset's device arrays after `position` refreshes."""
        return self.dataset.at(position)

    @cached_property
    def parameters(self) -> dict[str, NetworkParameter]:
        """Role, shape and rule of every parameter, by path name."""
        return {
            "/".join(map(str, path)): self._parameter(variable)
            for path, variable in nnx.to_flat_state(self._abstract[1])
        }

    def _parameter(self, variable: Any) -> NetworkParameter:
        rule = self.parametrization.rule(variable.role, variable.fan_in, variable.kernel_area)
        std = variable.gain * rule.init_std
        return NetworkParameter(variable.role, variable.shape, variable.fan_in, variable.kernel_area, rule, std)

    @cached_property
    def multipliers(self) -> Multipliers:
        """Update multiplier of every parameter, by path name."""
        return {path: parameter.multiplier for path, parameter in self.parameters.items()}

    def draw(self, key: Array) -> Any:
        """Nothing: trainings differ in their parameters alone."""
        del key
        return ()

    def init(self, key: Array) -> Params:
        """Fresh parameters as nested dictionaries."""
        return nnx.to_pure_dict(nnx.state(self.build(nnx.Rngs(key))))

    def _model(self, params: Params) -> Network:
        graph, state = self._abstract
        state = jax.tree.map(lambda x: x, state)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)

    def sample(self, data: Any, key: Array) -> Batch:
        """A training minibatch."""
        return self.dataset.sample(data, key, self.batch_size)

    def loss(self, params: Params, batch: Batch, drawn: Any = ()) -> Array:
        """Mean cross-entropy over the batch, in nats."""
        del drawn
        inputs, labels = batch
        logits = run(self._model(params), inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def layers(self, params: Params, inputs: Array) -> list[Layer]:
        """Every layer's input and pre-activation for [batch, *input_shape] inputs."""
        return list(self._model(params).layers(inputs))

    def full_loss(self, params: Params, data: Any, split: str, drawn: Any = ()) -> Array:
        """Mean cross-entropy over fixed examples of a split: `FULL_LOSS_EXAMPLES`, or `FULL_LOSS_LABELS` labels."""
        del drawn
        inputs, labels = self.dataset.fixed(data, split, FULL_LOSS_EXAMPLES)
        most = max(1, FULL_LOSS_LABELS // math.prod(labels.shape[1:]))
        inputs, labels = inputs[:most], labels[:most]
        chunks = self._chunks(inputs)
        chunked = jax.tree.map(lambda x: x.reshape(chunks, -1, *x.shape[1:]), (inputs, labels))
        return jnp.mean(jax.lax.map(lambda batch: self.loss(params, batch), chunked))

    def _chunks(self, inputs: Array) -> int:
        """Smallest divisor of the number of examples whose chunks keep activations small."""
        examples = len(inputs)
        wanted = math.ceil(examples * self._widest(inputs) / _CHUNK_FLOATS)
        return next(n for n in range(min(max(1, wanted), examples), examples + 1) if examples % n == 0)

    def _widest(self, inputs: Array) -> int:
        """Floats per example of the widest pre-activation."""
        example = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
        layers = nnx.eval_shape(lambda x: [layer.preactivation for layer in self.build(nnx.Rngs(0)).layers(x)], example)
        return max(math.prod(x.shape) for x in layers)
