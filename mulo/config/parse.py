"""From nested plain dictionaries to checked settings; the one way in for command line, files and checkpoints."""

from collections.abc import Mapping
from dataclasses import Field, asdict, fields, is_dataclass, replace
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mulo.config import registry, renamed
from mulo.config.data import DATASETS
from mulo.config.root import Config
from mulo.config.settings import check, expanded
from mulo.config.tasks import ARCHITECTURES
from mulo.errors import ConfigError

_OPTIMIZERS = {
    "small_fc": "mulo.optimizers.small_fc:SmallFC",
    "velo": "mulo.optimizers.velo:VeLO",
    "celo2": "mulo.optimizers.celo2:Celo2",
    "adamw": "mulo.optimizers.adamw:AdamW",
    "muon": "mulo.optimizers.muon:Muon",
    "schedule_free": "mulo.optimizers.schedule_free:ScheduleFree",
}
_GROUPS: dict[str, Mapping[str, Any]] = {"optimizer": _OPTIMIZERS, "task": ARCHITECTURES, "data": DATASETS}
for _group, _schemas in _GROUPS.items():
    for _name, _schema in _schemas.items():
        registry.register(_group, _name, _schema)


def parse(raw: Mapping[str, Any]) -> Config:
    """Builds the configuration of a job; raises ConfigError for unknown keys, wrong types and values out of range."""
    config: Config = _build(Config, renamed.current(raw), "")
    check(config)
    return config


def parse_group(group: str, raw: Any, prefix: str | None = None) -> Any:
    """Builds and checks the settings of one optimizer, task or dataset, such as those stored in a checkpoint."""
    prefix, raw = prefix or f"{group}.", renamed.current(raw, group)
    selector, schemas = registry.selector(group), registry.Schemas(group)
    chosen: Any = raw.get(selector) if isinstance(raw, Mapping) else raw
    if chosen not in schemas:
        raise ConfigError.value(f"{prefix}{selector}", chosen, "one of " + ", ".join(schemas))
    settings = _build(schemas[chosen], raw, prefix)
    check(settings, prefix)
    return settings


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain nested dictionary of a settings dataclass, ready for YAML or JSON."""
    return asdict(settings)


def _build(schema: type, raw: Any, prefix: str) -> Any:
    """Groups and dataclasses inside are built separately; OmegaConf checks and converts the types of the rest."""
    known = {spec.name: spec for spec in fields(schema)}
    if not isinstance(raw, Mapping):
        raise ConfigError.value(prefix.rstrip("."), raw, "a group of " + ", ".join(known))
    inner, plain = {}, {}
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"{prefix}{key}={value} is not a setting; expected one of {', '.join(known)}.")
        if known[key].metadata.get("group") or is_dataclass(known[key].type):
            inner[key] = _inner(known[key], value, f"{prefix}{key}.")
        else:
            plain[key] = value
    try:
        settings: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), plain))
    except OmegaConfBaseException as error:
        key = prefix + (error.full_key or "")
        reason = str(error.msg if hasattr(error, "msg") else error).splitlines()[0]
        raise ConfigError(f"{key}: {reason}.") from error
    return replace(expanded(settings), **inner)


def _inner(spec: Field, raw: Any, prefix: str) -> Any:
    group = spec.metadata.get("group")
    if group is None:
        return _build(spec.type, raw, prefix)  # type: ignore[arg-type]
    if raw is None and spec.default is None:
        return None
    if spec.metadata["each"]:
        return {name: parse_group(group, node, f"{prefix}{name}.") for name, node in raw.items() if node is not None}
    return parse_group(group, raw, prefix)
