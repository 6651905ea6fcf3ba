"""Whether a test has drawn random numbers: a layer that is left out by chance comes in another pass."""

from __future__ import annotations

import random
import sys

import torch

__all__ = ["random_state"]


def random_state() -> bytes:
    """What the generators of torch, Python and NumPy would give next, on the CPU."""
    numpy = sys.modules.get("numpy")
    drawn = [repr(random.getstate()[1][-1]).encode(), torch.get_rng_state().numpy().tobytes()]
    if numpy is not None:
        state = numpy.random.get_state()
        drawn.append(state[1].tobytes() + repr(state[2:]).encode())
    return b"".join(drawn)
