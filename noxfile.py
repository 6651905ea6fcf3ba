"""The matrix that CI declares, on one machine: ``nox``; ``nox --list`` names what ``nox -s`` runs alone."""

from __future__ import annotations

import shutil
from pathlib import Path

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
NEIGHBOURS = [
    *("pytest-timeout", "pytest-randomly", "pytest-cov", "pytest-asyncio", "anyio", "pytest-repeat"),
    *("pytest-sugar", "pytest-html", "pytest-benchmark", "pytest-memray"),
]

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests"]


@nox.session
@nox.parametrize("python,versions", MATRIX)
def tests(session: nox.Session, versions: str) -> None:
    """Tests and examples; with arguments behind ``--`` the tests that they choose, and no examples."""
    chosen = OLDEST if versions == "oldest" else ["-c", "constraints.txt"]
    session.install(*chosen, "-e", ".[test]")
    if not session.posargs:
        session.run("python", "-m", "pytest", "examples", "--gradhealth-report")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Branch coverage of the package by its own tests, with the processes that they start."""
    session.install("-c", "constraints.txt", "-e", ".[test]", "coverage>=7.10")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine")
    session.run("coverage", "report", "--sort=cover")


@nox.session
def mutation(session: nox.Session) -> None:
    """How many small faults in the judge its tests notice; ``nox -s mutation -- --mutants 200 --jobs 4``."""
    session.install("-c", "constraints.txt", "-e", ".[test]", "coverage>=7.10")
    session.run("python", "tools/mutation.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Hostile reports, baselines, markers and options; ``nox -s fuzz -- --inputs 100000``."""
    session.install("-c", "constraints.txt", "-e", ".[test]")
    session.run("python", "tools/fuzz.py", *session.posargs)


@nox.session(python="3.11")
def fuzz_guided(session: nox.Session) -> None:
    """The same, drawn by the branches that they reach; ``nox -s fuzz_guided -- -runs=100000``."""
    session.install("-c", "constraints.txt", "-e", ".[test]", "atheris>=3.0")
    session.run("python", "tools/fuzz_guided.py", *session.posargs)


@nox.session
def neighbours(session: nox.Session) -> None:
    """Other plugins in the same run."""
    session.install("-c", "constraints.txt", "-e", ".[test]", *NEIGHBOURS)
    session.run("python", "-m", "pytest", "tests/reliability/test_neighbours.py", "-p", "no:randomly", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The site, warnings being errors, and its links; ``nox -s docs -- external`` asks other sites too."""
    session.install("-c", "constraints.txt", "-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "docs", "build/site")
    ignored = [] if "external" in session.posargs else ["-D", "linkcheck_ignore=https?://"]
    session.run("sphinx-build", "-b", "linkcheck", *ignored, "docs", "build/links")


@nox.session
def changelog(session: nox.Session) -> None:
    """What the fragments in changelog.d make of the next section of the changelog, without writing it."""
    session.install("-c", "constraints.txt", "towncrier")
    session.run("towncrier", "build", "--draft", "--version", "next")


@nox.session
def package(session: nox.Session) -> None:
    """Wheel and sdist, each installed into a clean environment where a test uses the plugin."""
    session.install("build", "twine")
    built = Path(session.create_tmp(), "dist")
    shutil.rmtree(built, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(built))
    session.run("python", "-m", "twine", "check", "--strict", *map(str, built.iterdir()))
    for file in sorted(built.iterdir()):
        session.run("python", "tools/try_package.py", str(file), "-c", "constraints.txt", *session.posargs)
