"""From nested plain dictionaries to checked settings; the one way in for command line, files and checkpoints."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mulo.config import registry
from mulo.config.data import (
    EmbeddedDataConfig,
    ImageDataConfig,
    LM1BDataConfig,
    StdlibTextDataConfig,
    SyntheticDataConfig,
)
from mulo.config.evaluation import EvaluationConfig
from mulo.config.root import Config
from mulo.config.settings import check, expanded
from mulo.config.tasks import TASKS, MixedConfig
from mulo.errors import ConfigError


def _register() -> None:
    optimizers = {
        "small_fc": "mulo.optimizers.small_fc:SmallFC",
        "velo": "mulo.optimizers.velo:VeLO",
        "celo2": "mulo.optimizers.celo2:Celo2",
        "adamw": "mulo.optimizers.adamw:AdamW",
        "muon": "mulo.optimizers.muon:Muon",
        "schedule_free": "mulo.optimizers.schedule_free:ScheduleFree",
    }
    images = ("fashion_mnist", "cifar10", "imagenet32", "imagenet64")
    datasets = {
        "fashion_mnist_8x8": EmbeddedDataConfig,
        "synthetic": SyntheticDataConfig,
        "stdlib_text": StdlibTextDataConfig,
        "lm1b": LM1BDataConfig,
        **dict.fromkeys(images, ImageDataConfig),
    }
    for group, schemas in (("optimizer", optimizers), ("task", TASKS), ("data", datasets)):
        for name, schema in schemas.items():
            registry.register(group, name, schema)


_register()


def parse(raw: Mapping[str, Any]) -> Config:
    """Builds the configuration of a job; raises ConfigError for unknown keys, wrong types and values out of range."""
    chosen = {group: parse_group(group, raw[group]) for group in registry.GROUPS if group in raw}
    rest = {key: value for key, value in raw.items() if key not in registry.GROUPS}
    plain = _build(Config, rest, "")
    config = Config(**{spec.name: getattr(plain, spec.name) for spec in fields(Config)} | chosen)
    config = replace(config, evaluation=_with_groups(config.evaluation))
    check(config)
    return config


def _with_groups(evaluation: EvaluationConfig) -> EvaluationConfig:
    """The evaluation's task, data and baselines, where it has any, as settings."""
    raw = {key: getattr(evaluation, key) for key in ("task", "data")}
    groups = {key: parse_group(key, given, f"evaluation.{key}.") for key, given in raw.items() if given is not None}
    baselines = {
        name: parse_group("optimizer", given, f"evaluation.baselines.{name}.")
        for name, given in (evaluation.baselines or {}).items()
        if given is not None
    }
    return replace(evaluation, baselines=baselines, **groups)


def parse_group(group: str, raw: Any, prefix: str | None = None) -> Any:
    """Builds and checks the settings of one optimizer, task or dataset, such as those stored in a checkpoint."""
    prefix = prefix or f"{group}."
    selector, schemas = registry.selector(group), registry.Schemas(group)
    given: Any = raw.get(selector) if isinstance(raw, Mapping) else raw
    if given not in schemas:
        raise ConfigError.value(f"{prefix}{selector}", given, "one of " + ", ".join(schemas))
    settings = _build(schemas[given], raw, prefix)
    if isinstance(settings, MixedConfig):
        settings = replace(settings, text=parse_group("data", settings.text, f"{prefix}text."))
    check(settings, prefix)
    return settings


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain nested dictionary of a settings dataclass, ready for YAML or JSON."""
    return asdict(settings)


def _build(schema: type, raw: Any, prefix: str) -> Any:
    _refuse_unknown(schema, raw, prefix)
    try:
        return expanded(OmegaConf.to_object(OmegaConf.merge(_writable(OmegaConf.structured(schema)), raw)))
    except OmegaConfBaseException as error:
        key = prefix + (error.full_key or "")
        said = str(error.msg if hasattr(error, "msg") else error).splitlines()[0]
        raise ConfigError(f"{key}: {said}.") from error


def _writable(node: DictConfig) -> DictConfig:
    """Frozen dataclasses become read-only nodes, and a merge unlocks only the outermost one."""
    OmegaConf.set_readonly(node, False)
    for child in node.values():
        if isinstance(child, DictConfig):
            _writable(child)
    return node


def _refuse_unknown(schema: type, raw: Any, prefix: str) -> None:
    known = {spec.name: spec for spec in fields(schema)}
    if not isinstance(raw, Mapping):
        raise ConfigError.value(prefix.rstrip("."), raw, "a group of " + ", ".join(known))
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"{prefix}{key}={value} is not a setting. Known here: {', '.join(known)}.")
        inner = known[key].type
        if isinstance(inner, type) and is_dataclass(inner):
            _refuse_unknown(inner, value, f"{prefix}{key}.")
