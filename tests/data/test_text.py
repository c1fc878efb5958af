"""Windows of tokens: where they lie, how likely each is, and what follows each token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo.data.text import TokenSource, in_memory, token_type
from mulo.errors import DataError

LENGTH = 4


@pytest.fixture(scope="module")
def counting():
    """Training tokens 0 to 9 and test tokens 20 to 33, so that a token tells its place."""
    host = {"train": np.arange(10), "test": np.arange(20, 34)}
    return in_memory("counting", host, 256, LENGTH)


def test_a_window_and_the_tokens_after_it(counting):
    inputs, labels = counting.sample(counting.arrays, jax.random.key(0), 500)
    assert (inputs.shape, labels.shape) == ((500, LENGTH), (500, LENGTH))
    assert inputs.dtype == labels.dtype == jnp.int32
    np.testing.assert_array_equal(inputs, inputs[:, :1] + np.arange(LENGTH))
    np.testing.assert_array_equal(labels, inputs + 1)


def test_every_start_is_equally_likely_and_none_passes_the_end(counting):
    starts = counting.sample(counting.arrays, jax.random.key(1), 6000)[0][:, 0]
    counts = np.bincount(starts)
    assert len(counts) == 6  # ten tokens hold windows of 4 + 1 at 0 to 5
    assert np.sum((counts - 1000) ** 2 / 1000) < 20.5  # χ² with 5 degrees of freedom, p = 0.001


def test_fixed_windows_do_not_overlap(counting):
    inputs, labels = counting.fixed(counting.arrays, "test", 2)
    np.testing.assert_array_equal(inputs, [[20, 21, 22, 23], [24, 25, 26, 27]])
    np.testing.assert_array_equal(labels, [[21, 22, 23, 24], [25, 26, 27, 28]])
    assert inputs.dtype == labels.dtype == jnp.int32


def test_fixed_gives_all_there_are(counting):
    assert counting.fixed(counting.arrays, "test", 99)[0].shape == (3, LENGTH)  # 12 of 13 that have a next token
    assert counting.fixed(counting.arrays, "train", 99)[0].shape == (2, LENGTH)
    with pytest.raises(DataError, match="split=valid"):
        counting.fixed(counting.arrays, "valid", 1)


def test_compiled_and_batched_it_draws_the_same(counting):
    keys = jax.random.split(jax.random.key(2), 3)
    drawn = jax.jit(jax.vmap(lambda key: counting.sample(counting.arrays, key, 8)))(keys)
    for number, key in enumerate(keys):
        for together, alone in zip(drawn, counting.sample(counting.arrays, key, 8), strict=True):
            np.testing.assert_array_equal(together[number], alone)


def test_what_it_says_of_itself(counting):
    assert (counting.kind, counting.input_shape, counting.classes) == ("tokens", (LENGTH,), 256)
    assert counting.at(5) is counting.arrays


@pytest.mark.parametrize(
    ("vocabulary", "kind"),
    [(256, "uint8"), (257, "uint16"), (32000, "uint16"), (65536, "uint16"), (65537, "int32")],
)
def test_tokens_take_the_smallest_type(vocabulary, kind):
    top = np.arange(vocabulary - 9, vocabulary)
    dataset = in_memory("top", {"train": top, "test": top}, vocabulary, LENGTH)
    assert str(token_type(vocabulary)) == str(dataset.arrays["train"].dtype) == kind
    np.testing.assert_array_equal(dataset.fixed(dataset.arrays, "train", 1)[1][0], top[1:5])


def test_a_text_without_a_window_is_refused():
    enough = np.arange(LENGTH + 1)
    in_memory("short", {"train": enough, "test": enough}, 256, LENGTH)
    with pytest.raises(DataError, match=r"data.sequence_length=4 .* the test text of short has 4 tokens"):
        in_memory("short", {"train": enough, "test": enough[1:]}, 256, LENGTH)


def test_the_source_holds_the_fixed_windows(counting):
    source = TokenSource(np.arange(20, 34, dtype=np.uint8), LENGTH)
    inputs, labels = counting.fixed(counting.arrays, "test", 99)
    assert len(source) == len(inputs)
    for number in range(len(source)):
        one, after = source[number]
        assert one.dtype == after.dtype == np.uint8
        np.testing.assert_array_equal(one, inputs[number])
        np.testing.assert_array_equal(after, labels[number])
    for beyond in (-1, 3):
        with pytest.raises(IndexError, match="of 3"):
            source[beyond]
    assert len(TokenSource(np.arange(4), LENGTH)) == 0
