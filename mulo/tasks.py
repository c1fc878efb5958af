"""A task: a network, its data and its loss as pure functions of arrays (the `Task` protocol of `types`)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from mulo.config import TaskConfig
from mulo.models.mlp import MLP
from mulo.parametrization import Parametrization
from mulo.types import Array, Batch, Dataset, Layer, Multipliers, Params

FULL_LOSS_EXAMPLES = 10_000
"""How many fixed examples of a split `full_loss` averages over (all there are, if fewer)."""
_CHUNK_FLOATS = 4_000_000
"""`full_loss` goes through the examples in chunks whose widest activation has at most this many floats."""


@dataclass(frozen=True, eq=False)
class ClassificationTask:
    """Classifies a dataset's examples with a Flax NNX model under softmax cross-entropy.

    Attributes:
        name: short and unique within a job.
        build: makes the model from its `nnx.Rngs`; called under a trace.
        dataset: where the batches come from.
        batch_size: examples per minibatch.
        scheme: the model's parametrization.
        width: the model's width, for reports and chunk sizes.
        depth: number of its hidden layers, for reports.
    """

    name: str
    build: Callable[[nnx.Rngs], Any]
    dataset: Dataset
    batch_size: int
    scheme: Parametrization
    width: int
    depth: int

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
    def multipliers(self) -> Multipliers:
        """Update multiplier of every parameter, by path name."""
        return {
            "/".join(map(str, path)): self.scheme.rule(variable.role, variable.fan_in).update
            for path, variable in nnx.to_flat_state(self._abstract[1])
        }

    def init(self, key: Array) -> Params:
        """Fresh parameters as nested dictionaries."""
        return nnx.to_pure_dict(nnx.state(self.build(nnx.Rngs(key))))

    def _model(self, params: Params) -> Any:
        graph, state = self._abstract
        state = jax.tree.map(lambda x: x, state)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)

    def sample(self, data: Any, key: Array) -> Batch:
        """A training minibatch."""
        return self.dataset.sample(data, key, self.batch_size)

    def loss(self, params: Params, batch: Batch) -> Array:
        """Mean cross-entropy over the batch, in nats."""
        inputs, labels = batch
        logits = self._model(params)(inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def layers(self, params: Params, inputs: Array) -> list[Layer]:
        """Every layer's input and pre-activation for [batch, *input_shape] inputs."""
        return list(self._model(params).layers(inputs))

    def full_loss(self, params: Params, data: Any, split: str) -> Array:
        """Mean cross-entropy over the first `FULL_LOSS_EXAMPLES` examples of a split."""
        inputs, labels = self.dataset.fixed(data, split, FULL_LOSS_EXAMPLES)
        chunks = self._chunks(len(labels))
        chunked = jax.tree.map(lambda x: x.reshape(chunks, -1, *x.shape[1:]), (inputs, labels))
        return jnp.mean(jax.lax.map(lambda batch: self.loss(params, batch), chunked))

    def _chunks(self, examples: int) -> int:
        """Smallest divisor of the number of examples whose chunks keep activations small."""
        wanted = math.ceil(examples * self.width / _CHUNK_FLOATS)
        return next(n for n in range(min(max(1, wanted), examples), examples + 1) if examples % n == 0)


def make_tasks(
    config: TaskConfig, parametrization: str, dataset: Dataset, widths: list[int] | None = None
) -> list[Any]:
    """One task per width of the configuration, or per width given."""
    scheme = Parametrization(parametrization, config.bias_init, config.output_init)
    return [_mlp_task(config, scheme, dataset, width) for width in widths or config.all_widths]


def _mlp_task(config: TaskConfig, scheme: Parametrization, dataset: Dataset, width: int) -> ClassificationTask:
    def build(rngs: nnx.Rngs) -> MLP:
        return MLP(config, width, dataset.input_shape, dataset.classes, scheme, rngs)

    return ClassificationTask(
        f"mlp_w{width}_d{config.depth}", build, dataset, config.batch_size, scheme, width, config.depth
    )
