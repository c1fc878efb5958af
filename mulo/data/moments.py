"""Mean and standard deviation of bytes, exact however many there are: from how often each value occurs."""

import numpy as np

_CHUNK = 1 << 24


def histogram(values: np.ndarray) -> np.ndarray:
    """How often each of the 256 values occurs: int64 [256]."""
    flat, counts = values.reshape(-1), np.zeros(256, np.int64)
    for start in range(0, flat.size, _CHUNK):  # bincount widens what it is given to 8 bytes
        counts += np.bincount(flat[start : start + _CHUNK], minlength=256)
    return counts


def moments(counts: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, in units of 255."""
    values, total = np.arange(256), counts.sum()
    mean = (counts * values).sum() / total
    return float(mean / 255), float(np.sqrt((counts * (values - mean) ** 2).sum() / total) / 255)
