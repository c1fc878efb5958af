"""Errors for users: what was wrong, what was expected, what to do."""


class MuloError(Exception):
    """Base of every error that mulo raises on purpose; its text is one paragraph for the user."""


class ConfigError(MuloError):
    """A setting is unknown, out of range, or contradicts another one."""

    @classmethod
    def value(cls, key: str, value: object, expected: str, advice: str = "") -> "ConfigError":
        """One sentence with the key, its value and what was expected, then the advice."""
        return cls(f"{key}={value} is invalid; expected {expected}. {advice}".strip())


class CheckpointError(MuloError):
    """A checkpoint is missing, damaged, or belongs to something else."""


class DataError(MuloError):
    """A dataset is missing or does not match its checksum."""


class MultiplierError(MuloError):
    """The update multipliers do not fit the parameters they are to scale."""


class ArgumentError(MuloError, ValueError):
    """An argument of a Python call is out of range, or of a kind that cannot be worked with."""


class RoleError(MuloError):
    """The role of a parameter cannot be inferred from the shapes, or was given wrongly."""


class KernelError(MuloError):
    """The native kernel was requested and cannot be built."""


class ReferenceFileError(MuloError):
    """A file of weights or trajectories of other code cannot be read."""


class MemoryLimitError(MuloError):
    """A job needs more memory than there is."""


class FullDiskError(MuloError):
    """The disk is full; files that were saved before are complete."""


class BusyError(MuloError):
    """Another process holds the folder's lock."""


class Interrupted(MuloError):
    """The user or the system asked the job to stop; everything needed to resume is saved."""

    def __init__(self, signal_number: int, advice: str) -> None:
        super().__init__(advice)
        self.signal_number = signal_number
