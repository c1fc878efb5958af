"""Errors that a person reads: what was given, what is allowed, what to do."""


class MuloError(Exception):
    """Base of every error that mulo raises on purpose; its text is one paragraph for the user."""


class ConfigError(MuloError):
    """A setting is unknown, out of range, or contradicts another one."""

    @classmethod
    def value(cls, key: str, given: object, allowed: str, advice: str = "") -> "ConfigError":
        """Names the key, the value given and what is allowed, in one sentence each."""
        return cls(f"{key}={given} is not possible: allowed is {allowed}. {advice}".strip())


class CheckpointError(MuloError):
    """A checkpoint is missing, damaged, or belongs to something else."""


class DataError(MuloError):
    """A dataset is missing or does not match its checksum."""


class MultiplierError(MuloError):
    """The update multipliers do not fit the parameters they are to scale."""


class ArgumentError(MuloError, ValueError):
    """An argument of a Python call is out of range, or of a kind that cannot be worked with."""


class RoleError(MuloError):
    """What a parameter is in its network cannot be told from the shapes, or was told wrongly."""


class KernelError(MuloError):
    """The native kernel was asked for and cannot be built."""


class ReferenceFileError(MuloError):
    """A file of somebody else's weights or trajectories cannot be read."""


class MemoryLimitError(MuloError):
    """A job needs more memory than there is."""


class FullDiskError(MuloError):
    """There is no room for what a job writes; what it saved before is whole."""


class BusyError(MuloError):
    """Another process is at work in the same folder."""


class Interrupted(MuloError):
    """The user or the system asked the job to stop; everything needed to resume is saved."""

    def __init__(self, signal_number: int, advice: str) -> None:
        super().__init__(advice)
        self.signal_number = signal_number
