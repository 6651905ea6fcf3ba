"""The matrix that CI declares, on one machine: ``nox``; ``nox --list`` names what ``nox -s`` runs alone."""

from __future__ import annotations

import nox

MATRIX = [
    ("3.11", "oldest"),
    ("3.12", "oldest"),
    ("3.11", "newest"),
    ("3.12", "newest"),
    ("3.13", "newest"),
    ("3.14", "newest"),
]
"""Python, and whether with the oldest supported versions of pytest and torch or with those in constraints.txt."""
OLDEST = ["pytest==8.4.*", "torch==2.6.*"]

nox.options.default_venv_backend = "venv"


@nox.session
@nox.parametrize("python,versions", MATRIX)
def tests(session: nox.Session, versions: str) -> None:
    """Tests and examples; what follows ``--`` goes to pytest."""
    chosen = OLDEST if versions == "oldest" else ["-c", "constraints.txt"]
    session.install(*chosen, "-e", ".[test]")
    session.run("python", "-m", "pytest", "examples", "--gradhealth-report")
    session.run("python", "-m", "pytest", *session.posargs)
