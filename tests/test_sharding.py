"""Which dimension of a tensor is shared out, and what lies beside it."""

from typing import NamedTuple

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from mulo import sharding
from mulo.sharding import WHOLE, Shard


@pytest.mark.parametrize(
    ("shape", "devices", "expected"),
    [
        ((), 2, WHOLE),
        ((512,), 2, WHOLE),
        ((6, 4), 2, Shard(-2, 6)),
        ((4, 6), 2, Shard(-1, 6)),
        ((8, 8), 4, Shard(-1, 8)),  # the last of equals
        ((9, 8), 4, Shard(-1, 8)),  # the largest that four divide
        ((9, 7), 4, WHOLE),
        ((4, 3), 4, WHOLE),  # parts of one entry could not be told from "does not vary"
        ((3, 3, 16, 8), 4, Shard(-2, 16)),
        ((8, 0), 4, Shard(-2, 8)),
    ],
)
def test_the_largest_dimension_that_divides_evenly_is_shared_out(shape, devices, expected):
    assert sharding.choose(shape, devices) == expected


class Moments(NamedTuple):
    full: np.ndarray
    row: np.ndarray
    col: np.ndarray


def test_a_state_lies_where_its_parameters_do():
    params = {"a": {"kernel": np.zeros((6, 4)), "bias": np.zeros(6)}, "kernel": np.zeros((2, 8))}
    shards = sharding.layout(params, 2)
    assert shards == {"a/bias": WHOLE, "a/kernel": Shard(-2, 6), "kernel": Shard(-1, 8)}
    moments = {
        "a": {
            "kernel": Moments(np.zeros((3, 6, 4)), np.zeros((3, 1, 4)), np.zeros((3, 6, 1))),
            "bias": Moments(np.zeros((3, 6)), np.zeros((3, 6)), ()),
        },
        "kernel": Moments(np.zeros((3, 2, 8)), np.zeros((3, 2, 1)), np.zeros((3, 1, 8))),
    }
    found = sharding.specs({"step": np.zeros(6), "tensors": moments}, shards)
    assert found["step"] == P()
    assert found["tensors"]["a"]["kernel"] == Moments(P(None, "model", None), P(), P(None, "model", None))
    assert found["tensors"]["a"]["bias"] == Moments(P(), P(), ())
    # Its own path is longer than that of the parameter `kernel`, which also lies within `a/kernel`.
    assert found["tensors"]["kernel"] == Moments(P(None, None, "model"), P(), P(None, None, "model"))


def test_without_layout_every_leaf_is_whole_and_means_are_plain():
    x = jax.numpy.arange(6.0).reshape(2, 3)
    assert sharding.by_path(None, {"a": x}) == {"a": WHOLE}
    assert WHOLE.mean(x) == 2.5
    np.testing.assert_array_equal(WHOLE.mean(x, 1, keepdims=True), [[1.0], [4.0]])


def test_a_tensor_that_the_layout_does_not_name_is_an_error():
    with pytest.raises(KeyError, match="b"):
        sharding.by_path({"a": WHOLE}, {"b": np.zeros(3)})
