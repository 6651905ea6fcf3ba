"""Repositories as a workflow finds them: an origin with history, and a checkout as actions/checkout makes it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODEL = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__()
        for i in range({depth}):
            self.append(nn.Linear(16, 16))
            self.append(nn.{activation}())
        self.append(nn.Linear(16, 4))
"""
TEST = """
import torch
import torch.nn.functional as F

from net.model import Net


def test_gradients(gradhealth):
    numbers = torch.Generator().manual_seed(1)
    batch = torch.randn(16, 16, generator=numbers), torch.arange(16) % 4
    gradhealth.check(Net, [batch], loss=F.cross_entropy)
"""


def model(activation: str = "ReLU", depth: int = 4) -> str:
    return MODEL.format(activation=activation, depth=depth)


QUICK_TEST = """
import net
from pytest_gradhealth import Finding, GradientHealthError, GradientRecord, LayerGradient, Limits


def test_{name}(gradhealth):
    same = dict(kind="Linear", parameters=4, trainable=4, reach=1.0, signal=0.1)
    layers = [LayerGradient(name=f"fc{{i}}", order=i, norm=norm, **same) for i, norm in enumerate(net.NORMS)]
    record = GradientRecord(model="Net", layers=tuple(layers), source=net.__file__)
    what = dict(kind="exploding", value=net.NORMS[0], limit=10.0, limit_name="max_norm")
    findings = (Finding(layers=("fc0",), message="a norm of 50", **what),) if net.NORMS[0] > 10 else ()
    check = gradhealth.conclude(record, findings, Limits(), "Net")
    if findings:
        raise GradientHealthError("a norm of 50", check)
"""
"""A session without torch takes a fraction of the time; the plugin, the report and all processes are real."""
QUICK_NORMS = {"healthy": 0.1, "moved": 5.0, "sick": 50.0}
"""``moved`` is within all limits, but far from ``healthy``."""


def quick(state: str = "healthy", *names: str, **others: str) -> dict[str, str]:
    """Files of a project whose gradients are numbers in a file, with a test for each name."""
    tests = {f"test_{name}.py": QUICK_TEST.format(name=name) for name in names or ("net",)}
    norms = (QUICK_NORMS[state], *[0.1] * 7)
    return {"net.py": f"NORMS = {norms}\n", **tests, **{f"{name}.py": text for name, text in others.items()}}


HEALTHY = model()
SICK = model("Sigmoid", 12)
BROKEN = "import no_such_module\n"


def project(code: str | None = HEALTHY, test: str | None = TEST, folder: str = "", source: str = "") -> dict[str, str]:
    """Files of a small project; None leaves one out."""
    package = {f"{source}net/__init__.py": "", f"{source}net/model.py": code}
    files = {**package, "tests/test_gradients.py": test, "pytest.ini": "[pytest]\n"}
    return {f"{folder}{name}": text for name, text in files.items() if text is not None}


class Origin:
    """The repository on the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        return git(cwd or self.folder, *arguments)

    def commit(self, files: Mapping[str, str], *, on: str = "main", start: str = "") -> str:
        """A commit with exactly these files at the tip of a branch, which may start at another commit."""
        exists = self.git("branch", "--list", on) or not self.git("branch", "--list")
        if start or not exists:
            self.git("checkout", "--quiet", "-B", on, start or "main")
        elif self.git("branch", "--list"):
            self.git("checkout", "--quiet", on)
        self.git("rm", "-r", "-q", "-f", "--ignore-unmatch", ".")
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", "a change")
        return self.git("rev-parse", "HEAD")

    def merge(self, base: str, head: str) -> str:
        """The merge commit that GitHub makes for a pull request, with the head's files."""
        merged = self.git("commit-tree", f"{head}^{{tree}}", "-p", base, "-p", head, "-m", "merge")
        self.git("update-ref", "refs/pull/1/merge", merged)
        return merged

    def checkout(self, folder: Path, sha: str, depth: int = 2) -> Path:
        """As actions/checkout does it, without credentials."""
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet")
        git(folder, "remote", "add", "origin", f"file://{self.folder}")
        limit = [f"--depth={depth}"] if depth else []
        git(folder, "fetch", "--quiet", "--no-tags", *limit, "origin", sha)
        git(folder, "checkout", "--quiet", "--detach", sha)
        return folder


def pull_request(base: str, head: str, fork: bool = False) -> dict[str, Any]:
    """The part of the event that tells the commits."""
    owner = "stranger" if fork else "octo"
    return {
        "pull_request": {
            "base": {"sha": base, "ref": "main", "repo": {"full_name": "octo/demo", "fork": False}},
            "head": {"sha": head, "ref": "topic", "repo": {"full_name": f"{owner}/demo", "fork": fork}},
        },
        "repository": {"default_branch": "main"},
    }


def git(folder: Path, *arguments: str) -> str:
    person = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **person, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
