"""MXFP4, the 4 bits that gpt-oss was released in: sixteen codes, and one power of two for each 32 weights.

Source: OCP Microscaling Formats (MX) Specification 1.0, sections 5.3.3 (E2M1) and 5.4.1 (E8M0). For the eye; training
and asking use Unsloth's kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# By code: one bit of sign, two of exponent, one of mantissa.
LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)


def round_to_mxfp4(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What weights of shape (..., 32 n) become: levels (..., n, 32) out of :data:`LEVELS`, and factors (..., n, 1) to
    multiply them by. A factor is a power of two that puts its block's largest weight between 4 and 8; above 6, the
    largest level, it is cut off."""
    import torch

    blocks = weights.float().unflatten(-1, (-1, 32))
    largest = blocks.abs().amax(-1, keepdim=True).clamp(min=2.0**-120)
    factors = torch.exp2(torch.floor(torch.log2(largest)) - 2)  # 6, the largest level, is 1.5 times two to the 2
    levels = torch.tensor(LEVELS[:8], device=weights.device)
    scaled = blocks / factors
    nearest = (scaled.abs()[..., None] - levels).abs().argmin(-1)
    return levels[nearest] * scaled.sign(), factors
