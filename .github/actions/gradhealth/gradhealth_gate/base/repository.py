"""The caller's repository, read through a git directory of the gate's own.

Code of the change may have written the checkout's `.git`: its configuration can name programs for git to start
(filters, hooks, monitors), and its files can say that a commit has other parents. So none of its configuration is used,
only its refs and objects; and what matters of the objects is held to the commit's own hash.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gradhealth_gate.errors import BaseUnavailableError

__all__ = ["Repository"]

SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
FETCH_SECONDS = 300
SYSTEM = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
"""Where git is looked for first: the first folders of PATH may hold programs that the project under test installed."""
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
SAFE = {
    "GIT_ALLOW_PROTOCOL": "file:http:https:ssh",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
RAW = "* -text -eol -crlf -ident -filter -working-tree-encoding\n"
"""Attributes that write every file as it is stored, so that its hash is the commit's."""


class Repository:
    """A checkout, as it was when this was made."""

    def __init__(self, top: Path, folder: Path, remote: Mapping[str, str]) -> None:
        self.top = top
        self._folder = folder
        self._remote = remote

    @classmethod
    def around(cls, directory: Path, folder: Path) -> Repository | None:
        """The checkout that holds a directory; None: there is none.

        Args:
            directory: in the checkout.
            folder: where the gate's own git directory is made.
        """
        questions = ("--show-toplevel", "--absolute-git-dir", "--git-common-dir", "--show-object-format")
        found = _git(directory, "rev-parse", "--path-format=absolute", *questions)
        answers = os.fsdecode(found.stdout).splitlines()
        if found.returncode != 0 or len(answers) != len(questions):
            return None
        top, own, common = (Path(answer).resolve() for answer in answers[:3])
        if not directory.is_relative_to(top):
            return None
        _copy_refs(own, common, folder, answers[3])
        return cls(top, folder, _remote(directory))

    def commit(self, revision: str) -> str:
        """The commit's SHA; empty where it is not there."""
        return self._line("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")

    def tree(self, revision: str) -> str:
        """The SHA of a commit's files, as the commit names it."""
        return next(iter(self._named(revision, "tree")), "")

    def parents(self, revision: str = "HEAD") -> tuple[str, ...]:
        """A commit's parents as it names them, which a shallow clone still knows although it does not follow them."""
        return self._named(revision, "parent")

    def merge_base(self, one: str, other: str) -> str:
        """The commit where two branches parted; empty where the clone does not reach back to it."""
        return self._line("merge-base", one, other)

    def changed(self, base: str) -> list[str]:
        """Names of the files that differ between a commit and the one that is checked out."""
        return _names(self._git("diff-tree", "-r", "-z", "--no-renames", "--name-only", base, "HEAD"))

    def fetched(self, revision: str) -> str:
        """The commit, brought from the remote where it is not there yet; empty where it cannot be had."""
        here = self.commit(revision)
        url = self._remote.get("url", "")
        if here or not url or not self._can_name(revision):
            return here
        # A depth would cut the history of a clone that has it all.
        shallow = self._line("rev-parse", "--is-shallow-repository") == "true"
        depth = ["--depth=1"] if shallow else []
        header = self._remote.get("header", "")
        settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraheader", "GIT_CONFIG_VALUE_0": header}
        arguments = ["fetch", "--no-tags", "--quiet", *depth, "--end-of-options", url, revision]
        done = self._git(*arguments, seconds=FETCH_SECONDS, settings=settings if header else {})
        return self.commit("FETCH_HEAD") if done.returncode == 0 else ""

    def read(self, revision: str, path: str) -> bytes | None:
        """A file as it was at a commit; None: it was not there."""
        found = self._git("cat-file", "blob", f"{revision}:{path}")
        return found.stdout if found.returncode == 0 else None

    def files(self, revision: str) -> list[str]:
        """The names of all files at a commit."""
        return _names(self._git("ls-tree", "-r", "-z", "--name-only", revision))

    def blobs(self, revision: str) -> dict[str, str]:
        """The hash of every file at a commit, by name."""
        listed = _names(self._git("ls-tree", "-r", "-z", revision))
        pairs = (line.partition("\t")[::2] for line in listed)
        return {name: facts.split()[2] for facts, name in pairs if facts.split()[1] == "blob"}

    def export(self, revision: str, folder: Path) -> Path:
        """Write a commit's files, and hold every one of them to the commit's hash.

        Raises:
            BaseUnavailableError: a file cannot be had, or is not the commit's.
        """
        folder.mkdir()
        index = {"GIT_INDEX_FILE": str(self._folder / "base.index"), "GIT_WORK_TREE": str(folder)}
        # The second reading forgets what the first knows of the files, so that the last step reads all of them.
        steps = (("read-tree", "--reset", "-u", revision), ("read-tree", revision), ("add", "--update", "."))
        for step in steps:
            done = self._git(*step, settings=index, directory=folder)
            if done.returncode != 0:
                raise BaseUnavailableError(f"the base commit's files cannot be had: {_reason(done)}")
        written = self._git("write-tree", settings=index).stdout.decode().strip()
        if written != self.tree(revision):
            raise BaseUnavailableError("the checkout's git objects are not what their hashes say; they were changed")
        return folder.resolve()

    def _named(self, revision: str, what: str) -> tuple[str, ...]:
        """What a commit says of itself, held to its hash."""
        sha = self._line("rev-parse", "--verify", "--quiet", "--end-of-options", revision)
        content = self._git("cat-file", "commit", sha).stdout
        hasher = hashlib.sha1 if len(sha) == 40 else hashlib.sha256
        if sha and hasher(b"commit %d\0" % len(content) + content).hexdigest() != sha:
            raise BaseUnavailableError(f"the checkout's commit {sha[:12]} is not what its hash says; it was changed")
        lines = content.partition(b"\n\n")[0].decode(errors="replace").splitlines()
        return tuple(line.removeprefix(f"{what} ") for line in lines if line.startswith(f"{what} "))

    def _can_name(self, revision: str) -> bool:
        """Whether it is what a remote can be asked for: a commit or a name, no `HEAD~2` and no refspec."""
        if SHA.fullmatch(revision):
            return True
        return self._git("check-ref-format", "--allow-onelevel", revision).returncode == 0

    def _line(self, *arguments: str) -> str:
        found = self._git(*arguments)
        return found.stdout.decode().strip() if found.returncode == 0 else ""

    def _git(
        self,
        *arguments: str,
        seconds: int | None = None,
        settings: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        own = {"GIT_DIR": str(self._folder), **(settings or {})}
        return _git(directory or self._folder, *arguments, seconds=seconds, settings=own)


def _copy_refs(own: Path, common: Path, folder: Path, object_format: str) -> None:
    """A git directory with the checkout's branches and objects, and nothing else of it."""
    _git(folder.parent, "init", "--bare", "--quiet", "--template=", f"--object-format={object_format}", str(folder))
    for source in (own / "HEAD", common / "packed-refs", common / "shallow"):
        with suppress(OSError):
            shutil.copyfile(source, folder / source.name, follow_symlinks=False)
    with suppress(OSError, shutil.Error):
        shutil.copytree(common / "refs", folder / "refs", symlinks=True, dirs_exist_ok=True)
    for name, text in (("objects/info/alternates", f"{common / 'objects'}\n"), ("info/attributes", RAW)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")


def _remote(directory: Path) -> dict[str, str]:
    """Where to fetch from, and the header that actions/checkout leaves for it where it is let to."""
    url = _git(directory, "config", "--get", "remote.origin.url").stdout.decode(errors="replace").strip()
    header = _git(directory, "config", "--get-urlmatch", "http.extraheader", url) if url else None
    return {"url": url, "header": header.stdout.decode(errors="replace").strip() if header else ""}


def _git(
    directory: Path, *arguments: str, seconds: int | None = None, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    # In a container job the checkout belongs to another user, and git would refuse it.
    program = shutil.which("git", path=os.pathsep.join(SYSTEM)) or "git"
    command = [program, "-c", "safe.directory=*", *arguments]
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.lower() in PROXIES}
    environment = {**kept, **SAFE, **(settings or {})}
    try:
        return subprocess.run(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, b"", str(error).encode())


def _names(listed: subprocess.CompletedProcess[bytes]) -> list[str]:
    return os.fsdecode(listed.stdout).split("\0")[:-1]


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"git ended with exit code {done.returncode}"
