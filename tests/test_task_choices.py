"""Which task goes with which data, and what is refused in words."""

import pytest

from mulo.config import MixedConfig, ResNetConfig, SyntheticDataConfig, TransformerConfig, ViTConfig, parse_group
from mulo.data import load
from mulo.errors import ConfigError
from mulo.jobs.networks import dataset_of, trained
from mulo.tasks import make_tasks
from tests.test_configs import composed


@pytest.mark.parametrize(
    ("config", "kinds"), [(TransformerConfig(), "tokens"), (ViTConfig(), "images"), (ResNetConfig(), "images")]
)
def test_data_of_another_kind_are_refused(config, kinds):
    with pytest.raises(ConfigError, match=rf"data=synthetic \(features\) .* data of {kinds} .*stdlib_text"):
        make_tasks(config, "mup", load(SyntheticDataConfig()))


def test_synthetic_examples_of_an_images_shape_pass_for_images():
    drawn = load(SyntheticDataConfig(shape=[8, 8, 3]))
    (task,) = make_tasks(ViTConfig(width=8), "mup", drawn)
    assert task.parameters["input/kernel"].shape == (2 * 2 * 3, 8)


def test_completep_needs_residual_blocks():
    with pytest.raises(ConfigError, match=r"task\.parametrization=completep .* null, sp or mup"):
        composed("task=mlp", "task.parametrization=completep")
    for task in ("transformer", "vit", "resnet_multiwidth"):
        assert composed(f"task={task}", "task.parametrization=completep").parametrization == "completep"


def test_attention_can_only_be_ablated_where_there_is_some():
    with pytest.raises(ConfigError, match=r"task\.parametrization=mup_but_attention .* no attention"):
        composed("task=mlp", "task.parametrization=mup_but_attention")
    assert composed("task=vit", "task.parametrization=mup_but_attention").parametrization == "mup_but_attention"


def test_tasks_bring_their_data_unless_told_otherwise():
    assert composed("task=transformer").data.name == "stdlib_text"
    assert composed("task=transformer_multiwidth", "data=lm1b", "data.path=x").data.name == "lm1b"
    assert composed("task=vit").data.name == "fashion_mnist_8x8"


def test_a_mixed_task_trains_all_members_on_their_own_data():
    config = composed("task=mixed", "recipe.scale.widths=[8]", "task.text.sequence_length=16")
    assert [task.name for task in trained(config).tasks] == [
        "mlp_w8_d3",
        "transformer_w8_d3",
        "vit_w8_d3",
        "resnet_w8_d1",
    ]
    assert [dataset_of(config, part).name for part in config.task.parts] == [
        "fashion_mnist_8x8",
        "stdlib_text",
        "fashion_mnist_8x8",
        "fashion_mnist_8x8",
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.members=[mlp,mlp]"], r"task\.members=.* without repetitions"),
        (["task.members=[cnn]"], r"task\.members=.* one of mlp, transformer, vit, resnet"),
        (["task.vit.parametrization=sp"], r"task\.vit\.parametrization=sp .* null"),
        (["task.text.name=imagenet"], r"task\.text\.name=imagenet"),
        (["mode=coordinate_check"], r"needs one architecture"),
    ],
)
def test_what_a_mixed_task_refuses(overrides, message):
    with pytest.raises(ConfigError, match=message):
        composed("task=mixed", *overrides)


@pytest.mark.parametrize("architecture", ["mlp", "transformer", "vit", "resnet"])
def test_a_task_has_one_width_or_several(architecture):
    assert composed(f"task={architecture}", "task.width=64", "task.depth=2").task.sizes() == [(64, 2)]
    several = composed(f"task={architecture}_multiwidth", "task.widths=[8,64]", "task.depths=[1,2]").task
    assert several.sizes() == [(8, 1), (64, 1), (8, 2), (64, 2)]
    same = composed(f"task={architecture}", "task.width=null", "task.widths=[8,64]", "task.depths=[1,2]").task
    assert same.sizes() == several.sizes()
    advice = rf"^task\.width=64 .* null beside task\.widths=\[16, 32\].* task={architecture}\."
    with pytest.raises(ConfigError, match=advice):
        composed(f"task={architecture}_multiwidth", "task.width=64")


def test_a_members_sizes_are_its_own():
    config = composed("task=mixed", "task.mlp.widths=[8]", "task.vit.depths=[1,2]")
    assert [part.sizes() for part in config.task.parts] == [
        [(8, 3)],
        [(16, 3), (32, 3)],
        [(16, 1), (32, 1), (16, 2), (32, 2)],
        [(16, 1), (32, 1)],
    ]
    with pytest.raises(ConfigError, match=r"^task\.mlp\.width=8 "):
        composed("task=mixed", "task.mlp.width=8")


def test_a_mixed_tasks_parametrization_is_that_of_all_members():
    config = composed("task=mixed", "task.parametrization=sp")
    assert {part.parametrization for part in config.task.parts} == {"sp"}


def test_settings_stored_before_a_setting_existed_are_read():
    stored = {"name": "mlp_multiwidth", "widths": [16, 64], "depth": 3}
    assert parse_group("task", stored).all_widths == [16, 64]
    assert isinstance(parse_group("task", {"name": "mixed", "text": {"name": "stdlib_text"}}), MixedConfig)
