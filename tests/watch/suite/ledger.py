"""What the suite computed, bit for bit: losses, and parameters with their gradients, by test."""

import hashlib
import json
import os

import torch

LEDGER = {}


def keep(*values):
    """Remember tensors, numbers, and the parameters and gradients of modules."""
    test = os.environ["PYTEST_CURRENT_TEST"].split(" ")[0].split("::", 1)[1]
    digest = hashlib.sha256(LEDGER.get(test, "").encode())
    for tensor in tensors(values):
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    LEDGER[test] = digest.hexdigest()
    with open(os.environ["LEDGER"], "w") as file:
        json.dump(LEDGER, file)


def tensors(values):
    for value in values:
        if isinstance(value, torch.nn.Module):
            for parameter in value.parameters():
                yield parameter
                if parameter.grad is not None:
                    yield parameter.grad
            yield from value.buffers()
        elif isinstance(value, torch.Tensor):
            yield value
        else:
            yield torch.tensor(float(value), dtype=torch.float64)
