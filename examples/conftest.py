"""Data for the examples: the handwritten digits that scikit-learn brings along, so that nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

Batch = tuple[Tensor, Tensor]


class Digits(NamedTuple):
    """Images of handwritten digits with their labels, in the same random order in every run."""

    batches: list[Batch]
    """For training: 21 batches of 64 images."""
    unseen: Batch
    """For testing."""


@pytest.fixture(scope="session")
def digits() -> Digits:
    """Images of shape (1, 8, 8), standardised."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1)
    images = (images - images.mean()) / images.std()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], torch.tensor(data.target)[order]
    batches = list(zip(images.split(64), labels.split(64), strict=True))
    return Digits(batches[:21], (images[21 * 64 :], labels[21 * 64 :]))


@pytest.fixture(scope="session")
def large_digits(digits: Digits) -> Digits:
    """The same enlarged to (1, 28, 28), the size of MNIST."""

    def enlarged(batch: Batch) -> Batch:
        return F.interpolate(batch[0], size=(28, 28), mode="bilinear"), batch[1]

    return Digits([enlarged(batch) for batch in digits.batches], enlarged(digits.unseen))


@pytest.fixture(autouse=True)
def _reproducible() -> Iterator[None]:
    """Fix what is drawn, and the order of sums: networks this small run fastest on one thread anyway."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the tests noted with ``record_property``; unlike printed text it is shown for passed tests too."""
    reports = [r for kind in ("passed", "xfailed", "failed") for r in terminalreporter.getreports(kind)]
    noted = {r.nodeid: r.user_properties for r in reports if r.when == "call" and r.user_properties}
    if noted:
        terminalreporter.section("what training showed")
    for test, properties in sorted(noted.items()):
        terminalreporter.write_line(test, bold=True)
        for name, value in properties:
            terminalreporter.write_line(f"  {name:<24}{value}")
