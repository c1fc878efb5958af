"""Peak rates of accelerators, and the time that arithmetic and memory traffic take on them.

Matrix products of the optimizee run at the rate of the precision that JAX uses for float32 unless told otherwise: TF32
on NVIDIA's GPUs, bfloat16 on TPUs. The optimizer's update asks for full float32: it runs at the vector units' rate.

Sources: NVIDIA's data sheets of A100 80 GB SXM, H100 SXM, H200 SXM and its GA102 whitepaper (RTX A6000), dense rates;
Google Cloud's pages on TPU v5e, v5p and v6e. Google gives no float32 rate of TPU vector units: it is taken as lanes ·
ALUs · clock, 8·128·4 per core at 1.5 GHz (v5e, v6e) and twice that at 1.75 GHz (v5p), after "How to Scale Your Model"
(Austin et al. 2025).
"""

from typing import NamedTuple

from mulo.cost import Cost
from mulo.planning.steps import InnerStep

COMPUTE_EFFICIENCY = 0.4
"""Assumed share of peak arithmetic reached: a usual figure for training in general, not measured for these programs."""
BANDWIDTH_EFFICIENCY = 0.7
"""Assumed share of peak memory bandwidth reached."""


class Accelerator(NamedTuple):
    """Peak rates of one device."""

    name: str
    precision: str
    """Of the optimizee's matrix products."""
    matrix_flops: float
    """Per second, at that precision."""
    vector_flops: float
    """Per second, float32 outside matrix units."""
    bandwidth: float
    """Bytes per second of the device's memory."""
    memory: float
    """Bytes."""


ACCELERATORS = {
    "a6000": Accelerator("NVIDIA RTX A6000", "TF32", 77.4e12, 38.7e12, 768e9, 48e9),
    "a100": Accelerator("NVIDIA A100 SXM 80 GB", "TF32", 156e12, 19.5e12, 2039e9, 80e9),
    "h100": Accelerator("NVIDIA H100 SXM", "TF32", 494.7e12, 67e12, 3350e9, 80e9),
    "h200": Accelerator("NVIDIA H200 SXM", "TF32", 494.7e12, 67e12, 4800e9, 141e9),
    "v5e": Accelerator("TPU v5e", "bfloat16", 197e12, 6.1e12, 819e9, 16e9),
    "v5p": Accelerator("TPU v5p", "bfloat16", 459e12, 14.3e12, 2765e9, 95e9),
    "v6e": Accelerator("TPU v6e", "bfloat16", 918e12, 6.1e12, 1640e9, 32e9),
}
"""By what `plan.device` calls them."""


def seconds(step: InnerStep, device: Accelerator) -> float:
    """Of one inner step of one training: each part bound by arithmetic or by memory, one after the other."""
    products = _bound(step.gradient, device.matrix_flops, device.bandwidth)
    rest = [_bound(part, device.vector_flops, device.bandwidth) for part in (step.update, step.sampling)]
    return products + sum(rest)


def _bound(cost: Cost, flops: float, bandwidth: float) -> float:
    return max(cost.flops / (flops * COMPUTE_EFFICIENCY), cost.bytes / (bandwidth * BANDWIDTH_EFFICIENCY))


def assumptions(device: Accelerator) -> list[str]:
    """What the times rest on, in words."""
    return [
        f"Peak rates from the data sheet: {device.matrix_flops / 1e12:.4g} TFLOP/s of matrix products "
        f"({device.precision}), {device.vector_flops / 1e12:.4g} TFLOP/s of the optimizer's float32 arithmetic, "
        f"{device.bandwidth / 1e9:.4g} GB/s of memory bandwidth.",
        f"Assumed, not measured: {COMPUTE_EFFICIENCY:.0%} of peak arithmetic and {BANDWIDTH_EFFICIENCY:.0%} of peak "
        "bandwidth are reached; nothing is lost to launching kernels, loading data, compiling or saving.",
    ]
