"""What was tried on copies of a model that failed, in words."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.record import Attempt, Check

__all__ = ["attempts"]


def attempts(check: Check) -> Iterator[str]:
    """One sentence for each attempt, the best first; the first cure also says what is at fault, and what to do."""
    for rank, attempt in enumerate(check.tried):
        yield f"{attempt.change}: {attempt.outcome}{_proof(attempt) if attempt.cures and rank == 0 else ''}"


def _proof(cure: Attempt) -> str:
    """What a cure proves; a name is not told three times."""
    if cure.cause in cure.change and cure.cause in cure.remedy:
        return "; so this is the cause"
    return f"; so {cure.cause} is the cause: {cure.remedy}"
