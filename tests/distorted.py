"""Deliberately wrong update multipliers."""


class Distorted:
    """A task whose update multipliers of hidden matrices are off by width^power."""

    def __init__(self, task, power):
        self._task = task
        wrong = {
            name: c * task.width**power
            for name, c in task.multipliers.items()
            if name.startswith("hidden") and name.endswith("kernel")
        }
        assert wrong
        self.multipliers = {**task.multipliers, **wrong}

    def __getattr__(self, name):
        return getattr(self._task, name)
