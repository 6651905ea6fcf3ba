"""What was tried on copies of a model that failed, in words."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.record import Check

__all__ = ["attempts"]


def attempts(check: Check) -> Iterator[str]:
    """One sentence for each attempt, the best first; the first cure also says what is at fault, and what to do."""
    for rank, attempt in enumerate(check.tried):
        proof = f"; so {attempt.cause} is the cause: {attempt.remedy}" if attempt.cures and rank == 0 else ""
        yield f"{attempt.change}: {attempt.outcome}{proof}"
