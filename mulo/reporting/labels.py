"""How tables and pictures call things."""

_OPTIMIZERS = {
    "velo_mup": "µVeLO",
    "velo_sp": "VeLO (SP)",
    "small_fc_mup": "µLO",
    "small_fc_sp": "LO (SP)",
    "adamw": "AdamW",
    "mu_adam": "µAdam",
}
_PARAMETRIZATIONS = {"mup": "µP", "sp": "SP"}


def label(name: str) -> str:
    """The printed name of an optimizer or a parametrization; what is not known stays as it is."""
    return _OPTIMIZERS.get(name) or _PARAMETRIZATIONS.get(name, name)
