"""Streams synthetic images, in a process of its own: `python -m tests.data.stream_memory EXAMPLES REFRESHES`.

Prints as JSON: gigabytes of all images, seconds that preparing took, by how much the peak of the resident memory grew
while the stream moved on, and examples per second.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np

from mulo.config import ImageDataConfig
from mulo.data.formats import Part
from mulo.data.images import _streamed
from mulo.data.published import Published

SIDE, PART = 64, 10_000


def part(seed, count):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8), np.arange(count, dtype=np.int32) % 1000


def published(examples):
    parts = [Part(lambda: PART, partial(part, seed, PART)) for seed in range(examples // PART)]
    return Published("synthetic", (SIDE, SIDE, 3), 1000, parts, [Part(lambda: 100, partial(part, 0, 100))], [])


def peak():
    """Not `ru_maxrss`: a process inherits in it what its parent held when it was started, and growth would not show."""
    return 1024 * int(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0])


def main(examples, refreshes):
    settings = ImageDataConfig(name="imagenet64", in_memory_gib=0.0, window=8192, block=1024)
    begun = time.perf_counter()
    data = _streamed(settings, published(examples))
    prepared = time.perf_counter()
    jax.block_until_ready(data.at(1))
    before, moving = peak(), time.perf_counter()
    for position in range(2, 2 + refreshes):
        jax.block_until_ready(data.at(position))
    seconds = time.perf_counter() - moving
    found = {
        "gigabytes": examples * 3 * SIDE**2 / 1e9,
        "seconds to prepare": prepared - begun,
        "peak before": before,
        "growth": peak() - before,
        "examples per second": refreshes * settings.block / seconds,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
