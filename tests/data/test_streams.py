"""A window over an endless shuffle: what it shows depends on the position alone, and what was shown stays."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo.config import StreamedDataConfig
from mulo.data.streams import FIXED, Blocks, Source, stream

EXAMPLES, BLOCK, SLOTS = 22, 4, 3


class Numbered(Source):
    """Example i is the image [[i, 2·i]] with label 3·i."""

    def __init__(self, count=EXAMPLES):
        self.count, self.reads = count, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.reads += 1
        return np.array([[index, 2 * index]], np.uint16), np.array(3 * index, np.uint16)


class Several(Numbered):
    """The same, read in groups."""

    def __getitems__(self, indices):
        return [self[int(index)] for index in indices]


def made(source=None, block=BLOCK, slots=SLOTS, seed=0):
    source = source or Numbered()
    config = StreamedDataConfig(window=block * slots, block=block, order_seed=seed)
    return stream(
        "numbered", {"train": source, "test": Numbered(5)}, config, kind="tokens", classes=7, decode=jnp.int32
    )


@cache
def order(count=40):
    """The endless shuffle, block by block, out of a reader that is asked for one block at a time."""
    return [Blocks(Numbered(), BLOCK, 0)[number][1] // 3 for number in range(count)]


def shown(data, position):
    x, y = data.at(position)["window"]
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y)[:, None, None] // 3 * [[1, 2]])
    return np.asarray(y).reshape(-1, BLOCK) // 3


def expected(position):
    slots = {number % SLOTS: order()[number] for number in range(position, position + SLOTS)}
    return [slots[slot] for slot in range(SLOTS)]


def test_every_epoch_shows_every_example_once_in_another_order():
    epochs = np.concatenate(order())[: 7 * EXAMPLES].reshape(7, EXAMPLES)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(EXAMPLES), (7, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 7


def test_moving_on_shows_the_next_block_in_the_oldest_slot():
    data = made()
    for position in range(12):
        np.testing.assert_array_equal(shown(data, position), expected(position))


@pytest.mark.parametrize("path", [[5], [0, 7, 6, 5], [0, 1, 3, 30, 2], [29, 28, 0, 37]])
def test_any_path_to_a_position_shows_the_same(path):
    data = made()
    for position in path:
        np.testing.assert_array_equal(shown(data, position), expected(position))


def test_moving_on_by_one_reads_one_block_and_what_is_read_ahead():
    source = Numbered()
    data = made(source)
    data.at(0)
    for position in range(1, 11):
        data.at(position)
    at_most = EXAMPLES + (SLOTS + 10 + 4) * BLOCK  # the fixed examples; two blocks wait, two are being read
    assert EXAMPLES + (SLOTS + 10) * BLOCK <= source.reads <= at_most


def test_earlier_arrays_stay_as_they_were():
    data = made()
    first = data.at(0)
    before = jax.tree.map(np.array, first)
    for position in (1, 2, 9):
        data.at(position)
    jax.tree.map(np.testing.assert_array_equal, before, first)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(first))


def test_arrays_are_the_same_object_while_nothing_moves():
    data = made()
    assert data.at(3) is data.at(3)
    assert data.at(4)["test"] is data.at(3)["test"]
    np.testing.assert_array_equal(data.arrays["window"][1], data.at(0)["window"][1])


@pytest.mark.parametrize("readers", [1, 2, 5])
@pytest.mark.parametrize("source", [Numbered, Several])
def test_blocks_do_not_depend_on_who_reads_them(readers, source):
    blocks = Blocks(source(), BLOCK, 0, readers)
    for number in [*range(12), 3, 4, 30, 31]:
        np.testing.assert_array_equal(blocks[number][1] // 3, order()[number])


def test_another_seed_gives_another_order():
    assert not np.array_equal(shown(made(seed=1), 0), shown(made(), 0))
    np.testing.assert_array_equal(shown(made(seed=1), 4), shown(made(seed=1), 4))


def test_samples_are_drawn_uniformly_from_the_window():
    data = made()
    x, y = data.sample(data.at(6), jax.random.key(0), 12_000)
    assert (x.dtype, y.dtype) == (jnp.int32, jnp.int32)
    np.testing.assert_array_equal(x[:, 0, 1], y // 3 * 2)
    window = np.concatenate(expected(6))
    counts = np.bincount(y // 3, minlength=EXAMPLES)
    np.testing.assert_array_equal(counts > 0, np.isin(np.arange(EXAMPLES), window))
    repeated = np.bincount(window, minlength=EXAMPLES)
    assert np.abs(counts - 1000 * repeated).max() < 5 * (1000 * repeated.max()) ** 0.5


def test_fixed_examples_are_the_first_at_every_position():
    data = made()
    for position in (0, 8):
        x, y = data.fixed(data.at(position), "train", 3)
        np.testing.assert_array_equal(y, [0, 3, 6])
        np.testing.assert_array_equal(x[:, 0], [[0, 0], [1, 2], [2, 4]])
        assert data.fixed(data.at(position), "test", 100)[1].tolist() == [0, 3, 6, 9, 12]
    assert (data.input_shape, data.kind, data.classes) == ((1, 2), "tokens", 7)


def test_no_more_than_some_fixed_examples_are_kept():
    data = made(Numbered(FIXED + 50))
    assert data.fixed(data.arrays, "train", 2 * FIXED)[1].shape == (FIXED,)
