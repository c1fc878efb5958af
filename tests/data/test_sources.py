"""Both kinds of dataset: what is drawn, how it is scaled, and that it lives outside compiled programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulo import data
from mulo.config import EmbeddedDataConfig, SyntheticDataConfig
from mulo.data import embedded, load
from mulo.data.sources import in_memory, uniform_indices
from mulo.errors import DataError

FEW, MANY = 64, 4096  # few sizes: each one compiles anew


@pytest.fixture(scope="module")
def fashion():
    return load(EmbeddedDataConfig())


@pytest.fixture(scope="module")
def clusters():
    return load(SyntheticDataConfig())


@pytest.fixture(params=["fashion", "clusters"])
def dataset(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def tiny():
    """Five training images and three test images whose pixels tell which one they are."""
    ramp = np.arange(8, dtype=np.uint8)[:, None, None] * np.full((8, 2, 2), 30, np.uint8)
    labels = np.array([0, 1, 2, 3, 4, 2, 1, 0], np.uint8)
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return in_memory("tiny", dict(zip(names, (ramp[:5], labels[:5], ramp[5:], labels[5:]), strict=True)))


def chi_square(counts):
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2).sum() / expected)


def test_names_shapes_and_classes(fashion, clusters):
    assert (fashion.name, fashion.input_shape, fashion.classes) == ("fashion_mnist_8x8", (8, 8), 10)
    assert (clusters.name, clusters.input_shape, clusters.classes) == ("synthetic", (64,), 10)


def test_batches_have_the_promised_shapes_and_types(dataset):
    drawn = dataset.sample(dataset.arrays, jax.random.key(0), FEW)
    for inputs, labels in (drawn, *(dataset.fixed(dataset.arrays, s, FEW) for s in ("train", "test"))):
        assert (inputs.shape, inputs.dtype) == ((FEW, *dataset.input_shape), jnp.float32)
        assert (labels.shape, labels.dtype) == ((FEW,), jnp.int32)
        assert 0 <= labels.min() <= labels.max() < dataset.classes


def test_sample_is_decided_by_its_key(dataset):
    first, again, other = (dataset.sample(dataset.arrays, jax.random.key(k), FEW) for k in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_fixed_is_the_same_at_every_call(dataset):
    first, again = (dataset.fixed(dataset.arrays, "test", FEW) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_training_and_held_out_examples_are_disjoint(dataset):
    train, test = (dataset.fixed(dataset.arrays, split, FEW)[0].reshape(FEW, -1) for split in ("train", "test"))
    assert jnp.abs(train[:, None] - test[None]).max(axis=-1).min() > 0


def test_unknown_split_is_refused(dataset):
    with pytest.raises(DataError, match="split=valid is invalid; expected one of train, test"):
        dataset.fixed(dataset.arrays, "valid", 1)


def test_vmap_and_scan_draw_what_single_calls_draw(dataset):
    keys = jax.random.split(jax.random.key(3), 4)
    single = [dataset.sample(dataset.arrays, key, FEW) for key in keys]

    @jax.jit
    def both(arrays, keys):
        mapped = jax.vmap(lambda key: dataset.sample(arrays, key, FEW))(keys)
        return mapped, jax.lax.scan(lambda _, key: (None, dataset.sample(arrays, key, FEW)), None, keys)[1]

    for inputs, labels in both(dataset.arrays, keys):
        np.testing.assert_allclose(inputs, np.stack([one[0] for one in single]), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(labels, np.stack([one[1] for one in single]))


def test_dataset_is_static_and_its_arrays_are_arguments(dataset):
    def run(data, arrays, key):
        return data.sample(arrays, key, 4), data.fixed(arrays, "train", 4)

    traced = jax.make_jaxpr(run, static_argnums=0)(dataset, dataset.arrays, jax.random.key(0))
    assert sum(np.size(constant) for constant in traced.consts) < 64


def test_embedded_sample_is_uniform_over_the_training_images():
    count = 1000
    images = np.arange(count, dtype=">u2").view(np.uint8).reshape(count, 2, 1)
    arrays = {"train_images": images, "train_labels": np.arange(count), "test_images": images[:1]}
    data = in_memory("counting", arrays | {"test_labels": np.zeros(1)})
    _, drawn = data.sample(data.arrays, jax.random.key(5), 100_000)
    counts = np.bincount(drawn, minlength=count)
    assert counts.min() > 0
    # Mean 999 and standard deviation √1998 ≈ 45 if uniform with replacement; 0 for a shuffle.
    assert 999 - 5 * 45 < chi_square(counts) < 999 + 5 * 45


def test_images_stay_with_their_labels(tiny):
    inputs, labels = tiny.sample(tiny.arrays, jax.random.key(0), FEW)
    pixels = np.rint((inputs * tiny.std + tiny.mean) * 255)
    np.testing.assert_array_equal(pixels, np.broadcast_to(labels[:, None, None] * 30, (FEW, 2, 2)))


def test_normalisation_by_hand(tiny):
    seen = np.array([0, 30, 60, 90, 120]) / 255
    assert tiny.mean == pytest.approx(seen.mean())
    assert tiny.std == pytest.approx(seen.std())
    inputs, labels = tiny.fixed(tiny.arrays, "test", 3)
    expected = (np.array([150, 180, 210]) / 255 - seen.mean()) / seen.std()
    np.testing.assert_allclose(inputs[:, 1, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(labels, [2, 1, 0])


def test_fixed_takes_the_first_examples_and_no_more_than_there_are(tiny):
    inputs, labels = tiny.fixed(tiny.arrays, "train", 2)
    assert inputs.shape == (2, 2, 2)
    np.testing.assert_array_equal(labels, [0, 1])
    assert tiny.fixed(tiny.arrays, "test", 1000)[0].shape == (3, 2, 2)


def test_embedded_reads_the_arrays_it_is_given(fashion):
    blank = jax.tree.map(jnp.zeros_like, fashion.arrays)
    inputs, labels = fashion.sample(blank, jax.random.key(0), FEW)
    np.testing.assert_allclose(inputs, np.full((FEW, 8, 8), -fashion.mean / fashion.std), rtol=1e-5)
    np.testing.assert_array_equal(labels, np.zeros(FEW))


def test_embedded_keeps_bytes_on_the_device(fashion):
    images, labels = fashion.arrays["train"]
    assert (images.dtype, labels.dtype) == (jnp.uint8, jnp.int32)
    np.testing.assert_array_equal(images, embedded.read()["train_images"])
    np.testing.assert_array_equal(fashion.arrays["test"][0], embedded.read()["test_images"])


def test_normalised_training_images_have_mean_0_and_variance_1(fashion):
    every = np.asarray(fashion.fixed(fashion.arrays, "train", 60000)[0], np.float64)
    assert every.mean() == pytest.approx(0, abs=1e-5)
    assert every.std() == pytest.approx(1, abs=1e-5)
    drawn = np.asarray(fashion.sample(fashion.arrays, jax.random.key(1), MANY)[0])
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    assert drawn.std() == pytest.approx(1, abs=0.03)


def test_missing_file_is_a_data_error(monkeypatch, tmp_path):
    read = embedded.read
    data._embedded.cache_clear()
    monkeypatch.setattr(embedded, "read", lambda: read(tmp_path / "absent.npz"))
    with pytest.raises(DataError, match=r"absent\.npz cannot be read"):
        load(EmbeddedDataConfig())


@pytest.mark.parametrize("separation", [0.5, 2.0, 7.0])
def test_class_means_have_the_length_of_the_separation(separation):
    means = load(SyntheticDataConfig(separation=separation)).arrays["means"]
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), np.full(10, separation), rtol=1e-5)


def test_shape_and_classes_act():
    data = load(SyntheticDataConfig(shape=[4, 3, 2], classes=5))
    assert data.arrays["means"].shape == (5, 24)
    inputs, labels = data.sample(data.arrays, jax.random.key(0), FEW)
    assert inputs.shape == (FEW, 4, 3, 2)
    assert set(labels.tolist()) == {0, 1, 2, 3, 4}


def test_seed_acts_on_means_and_fixed_examples():
    first, again, other = (load(SyntheticDataConfig(seed=s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.arrays["means"], again.arrays["means"])
    assert not np.array_equal(first.arrays["means"], other.arrays["means"])
    noise = [d.fixed(jax.tree.map(jnp.zeros_like, d.arrays), "test", FEW)[0] for d in (first, again, other)]
    np.testing.assert_array_equal(noise[0], noise[1])
    assert not np.array_equal(noise[0], noise[2])


def test_synthetic_labels_are_uniform(clusters):
    _, labels = clusters.sample(clusters.arrays, jax.random.key(2), MANY)
    assert chi_square(np.bincount(labels, minlength=10)) < 9 + 5 * 18**0.5


def test_clusters_are_means_plus_unit_noise(clusters):
    inputs, labels = clusters.sample(clusters.arrays, jax.random.key(4), MANY)
    noise = np.asarray(inputs - clusters.arrays["means"][labels])
    assert np.abs(noise.mean(axis=0)).max() < 5 / MANY**0.5
    np.testing.assert_allclose(noise.T @ noise / MANY, np.eye(64), atol=0.12)
    assert np.asarray(inputs).var(axis=0).mean() == pytest.approx(1 + 2**2 / 64, abs=0.03)


def nearest_mean_accuracy(separation):
    data = load(SyntheticDataConfig(separation=separation))
    inputs, labels = data.fixed(data.arrays, "test", MANY)
    distances = jnp.square(inputs[:, None] - data.arrays["means"]).sum(axis=-1)
    return float((distances.argmin(axis=1) == labels).mean())


def test_larger_separation_is_easier():
    accuracies = [nearest_mean_accuracy(separation) for separation in (0.01, 1.0, 2.0, 4.0, 10.0)]
    assert np.diff(accuracies).min() > 0
    assert accuracies[0] == pytest.approx(0.1, abs=0.03)
    assert accuracies[-1] > 0.999


@pytest.mark.parametrize("size", [1, 7, 60_000, 65_536, 1_281_167, 2**31 - 1])
def test_indices_are_the_upper_word_of_a_product(size):
    key = jax.random.key(3)
    bits = [int(word) for word in jax.random.bits(key, (1000,), jnp.uint32)]
    assert uniform_indices(key, 1000, size).tolist() == [word * size >> 32 for word in bits]


def test_indices_are_uniform():
    counts = np.bincount(uniform_indices(jax.random.key(0), 100_000, 10), minlength=10)
    assert len(counts) == 10
    assert np.sum((counts - 10_000) ** 2 / 10_000) < 27.9  # χ² with 9 degrees of freedom, p = 0.001
