"""Deliberately wrong update multipliers."""

from dataclasses import replace

from mulo.parametrization import Role


class Distorted:
    """A task whose update multipliers of hidden matrices are off by width^power."""

    def __init__(self, task, power):
        self._task = task
        hidden = {path for path, parameter in task.parameters.items() if parameter.role is Role.HIDDEN}
        assert hidden
        self.multipliers = {
            path: replace(c, update=float(c) * task.width**power) if path in hidden else c
            for path, c in task.multipliers.items()
        }

    def __getattr__(self, name):
        return getattr(self._task, name)
