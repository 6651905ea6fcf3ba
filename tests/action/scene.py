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
        {extra}
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


def model(activation: str = "ReLU", depth: int = 4, extra: str = "pass") -> str:
    return MODEL.format(activation=activation, depth=depth, extra=extra)


HEALTHY = model()
SICK = model("Sigmoid", 12)
MOVED = model(extra="self[0].weight.data *= 20")
"""Within all limits, but far from HEALTHY."""
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
