"""What CI runs, and what ``nox`` runs on one machine, are the same versions."""

from __future__ import annotations

import ast
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def declared(name: str) -> object:
    """A constant of the noxfile, which only ``nox`` can import."""
    for node in ast.parse((ROOT / "noxfile.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"noxfile.py has no {name}")


def test_nox_and_ci_run_the_same_matrix() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]
    included = jobs["test"]["strategy"]["matrix"]["include"]
    assert {(job["python"], job["versions"]) for job in included} == set(declared("MATRIX"))


def test_nox_and_ci_install_the_same_oldest_versions() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    assert " ".join(f'"{pin}"' for pin in declared("OLDEST")) in workflow
