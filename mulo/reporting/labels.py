"""How tables and pictures call things."""

_OPTIMIZERS = {
    "velo_mup": "µVeLO",
    "velo_sp": "VeLO (SP)",
    "small_fc_mup": "µLO",
    "small_fc_sp": "LO (SP)",
    "celo2_mup": "µCelo2",
    "celo2_sp": "Celo2 (SP)",
    "adamw": "AdamW",
    "mu_adam": "µAdam",
}
_PARAMETRIZATIONS = {
    "mup": "µP",
    "sp": "SP",
    "completep": "CompleteP",
    "mup_but_hidden": "µP but hidden",
    "mup_but_output": "µP but output",
    "mup_but_attention": "µP but attention",
}
_FAMILIES = {"mlp": "MLP", "transformer": "Transformer", "vit": "ViT", "resnet": "ResNet"}


def label(name: str) -> str:
    """The printed name of an optimizer or a parametrization; what is not known stays as it is."""
    return _OPTIMIZERS.get(name) or _PARAMETRIZATIONS.get(name, name)


def label_of_family(family: str) -> str:
    """The printed name of an architecture."""
    return _FAMILIES.get(family, family)


def contestant(optimizer: str, parametrization: str) -> str:
    """The printed name of an optimizer, with the network's parametrization where that is not the optimizer's own."""
    own = "mup" if optimizer.endswith("_mup") or optimizer == "mu_adam" else "sp"
    known = optimizer not in _OPTIMIZERS or parametrization == own
    return label(optimizer) if known else f"{label(optimizer)} in {label(parametrization)}"
