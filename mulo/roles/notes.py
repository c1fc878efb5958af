"""What a user should know of a parametrized model beyond its table."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from mulo.parametrization import Parametrization, Role
from mulo.roles.parameters import Parameter
from mulo.roles.rows import Row, kept_sentence

_KEYS = {"query": "key", "q_proj": "k_proj", "wq": "wk", "q": "k"}
"""What keys are called in attention, by what queries are."""


def notes_on(
    rows: Sequence[Row], model: Mapping[str, Parameter], parametrization: Parametrization, attention: Collection[str]
) -> Iterator[str]:
    """One sentence or two each; `attention` are the paths of attention modules that were looked at."""
    outputs = [row.path for row in rows if row.role == Role.OUTPUT]
    if parametrization.name != "sp" and not outputs:
        yield "No parameter is an output: if it is the embedding's matrix too, multiply the logits by 1/fan_in."
    if parametrization.name != "sp" and parametrization.output_init == "zeros" and len(outputs) > 1:
        yield (
            f"{', '.join(outputs)} all start at 0. Side by side that is fine, but one after the other none learns: "
            "then give parametrization=Parametrization('mup', output_init='normal') of mulo.parametrization."
        )
    if parametrization.name == "completep":
        yield f"Multiply what every residual block adds by 1/{parametrization.blocks}: shapes do not show the branches."
    unseen = sorted(set(_attention(rows)) - set(attention))
    if parametrization.name != "sp" and unseen:
        yield (
            f"{', '.join(unseen)}: where heads grow, µP divides attention's logits by d_head. Flax's own divides by "
            "√d_head, and arrays do not show which it is."
        )
    vectors = [row for row in rows if row.start is not None and model[row.path].is_everywhere(row.start) is False]
    kept = [row for row in vectors if row.kept]
    if kept:
        yield kept_sentence(kept)
    overwritten = [row.path for row in vectors if not row.kept]
    if overwritten:
        yield f"initialize sets {', '.join(overwritten)} to the start of the given role; `fixed` keeps the model's own."


def _attention(rows: Sequence[Row]) -> Iterator[str]:
    """Where matrices of queries and keys lie side by side."""
    paths = {row.path for row in rows if row.role not in (Role.BIAS, Role.NORM)}
    for path in paths:
        *before, part, leaf = ["", "", *path.split("/")]
        for parents, name, rest in ((before, part, [leaf]), ([*before, part], leaf, [])):
            if name in _KEYS and "/".join([*parents, _KEYS[name], *rest]).lstrip("/") in paths:
                yield "/".join(parents).lstrip("/") or name
