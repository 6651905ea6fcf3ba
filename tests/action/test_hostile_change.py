"""A change that wants to pass: what its files and its tests do against the gate, with real repositories and processes."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from samples import ACTION, ROOT
from scene import git, quick
from stage import PYTHON, Scenario, play

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes can be followed on Linux only")


def verdict(played: Scenario) -> tuple[int, str]:
    return played.result.code, played.result.outputs["outcome"]


# What the change's files do

DESELECTED = {"pytest.ini": "[pytest]\naddopts = --deselect test_net.py::test_net\n"}


def test_a_deselected_test_is_a_lost_check(tmp_path: Path) -> None:
    base, head = quick("healthy", "net", "other"), {**quick("healthy", "net", "other"), **DESELECTED}
    played = play(tmp_path, base, head)
    assert verdict(played) == (1, "fail")
    assert "| `test_net.py::test_net` | `(model)` | lost check |" in played.result.summary
    (error,) = played.result.of_kind("error")
    assert error.message.startswith("the base checks Net here, and this change does not\nRemedy: Run the test again")
    assert "also touches what decides how tests run: pytest.ini." in played.result.summary


HOOK = """
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome = "passed"
    return report
"""


def test_a_hook_that_turns_failures_into_passes_is_not_believed(tmp_path: Path) -> None:
    played = play(tmp_path, quick(), quick("sick", conftest=HOOK))
    assert verdict(played) == (1, "fail")
    assert played.result.outputs["regressions"] == "1"
    assert "exploding, but its test did not fail" in played.result.summary
    assert "1 unhealthy, but the test did not fail: test_net.py::test_net (passed)" in played.result.summary
    assert "also touches what decides how tests run: conftest.py." in played.result.summary


# What an earlier step, such as the installation of the project, did to the checkout


def remove_git(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")


def rewrite_parents(checkout: Path) -> None:
    """A merge commit whose first parent has the change's own files."""
    old = git(checkout, "rev-parse", "HEAD^2")
    tree = git(checkout, "rev-parse", "HEAD^{tree}")
    base = git(checkout, "commit-tree", tree, "-m", "a base like the head")
    git(
        checkout,
        "update-ref",
        "--no-deref",
        "HEAD",
        git(checkout, "commit-tree", tree, "-p", base, "-p", old, "-m", "x"),
    )


def test_without_git_a_pull_request_fails(tmp_path: Path) -> None:
    played = play(tmp_path, quick(), quick("moved"), prepare=remove_git)
    assert verdict(played) == (1, "error")
    assert "a base is required, and the workspace is no git repository" in played.result.of_kind("error")[0].message
    assert "tests on the base" not in played.result.log


def test_rewritten_parents_are_not_the_pull_requests(tmp_path: Path) -> None:
    played = play(tmp_path, quick(), quick("moved"), prepare=rewrite_parents)
    assert (verdict(played), played.result.outputs["base-sha"]) == ((1, "fail"), played.base)


# What the change's tests do while they run

WRECK = """
import shutil
from pathlib import Path

shutil.rmtree(Path(__file__).parent / ".git")
for folder in Path(__import__("os").environ["RUNNER_TEMP"]).glob("gradhealth-*"):
    for path in folder.rglob("*.json"):
        path.write_text("{}")
"""


def test_the_base_is_measured_before_a_line_of_the_change_runs(tmp_path: Path) -> None:
    played = play(tmp_path, quick(), quick("moved", conftest=WRECK))
    assert (verdict(played), played.result.outputs["compared"]) == ((1, "fail"), "1")
    assert played.result.log.index("gradhealth: tests on the base") < played.result.log.index("gradhealth: tests\n")
    assert Path(played.result.outputs["base-report"]).stat().st_size > 1000


@pytest.mark.parametrize("step", ["setup", "test"])
def test_a_base_whose_files_change_is_not_believed(tmp_path: Path, step: str) -> None:
    loosen = "from pathlib import Path; Path('net.py').write_text('NORMS = (5.0,) + (0.1,) * 7')"
    base = quick("healthy", conftest=loosen) if step == "test" else quick()
    setup = f"{PYTHON} -c {shlex.quote(loosen)}" if step == "setup" else ""
    played = play(tmp_path, base, quick("moved"), base_setup=setup)
    assert verdict(played) == (1, "error")
    assert "the base's files changed while they were measured: net.py" in played.result.of_kind("error")[0].message


DETACHED = """
import os, subprocess, sys, time
from pathlib import Path

FORGE = '''
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
with open(sys.argv[1] + "/pid", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + "/pid", sys.argv[1] + "/ready")
files = [os.path.join(sys.argv[1], name) for name in os.listdir(sys.argv[1]) if name.startswith("set_")]
while True:
    for name in files:
        if b"outcome" in open(name, "rb").read():
            open(name, "a").write("outcome=pass\\\\n")
            open(sys.argv[1] + "/set_env", "w").write("PLANTED=1")
    time.sleep(0.001)
'''
room = os.environ["RUNNER_TEMP"]
subprocess.Popen([sys.executable, "-S", "-c", FORGE, room], start_new_session=True)
while not Path(room, "ready").exists():
    time.sleep(0.01)
pid, seen = os.getppid(), []
while pid > 1:
    try:
        seen.append(Path(f"/proc/{pid}/environ").read_bytes())
    except PermissionError:
        seen.append(b"closed")
    try:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        break
Path(room, "parents").write_bytes(b"\\0".join(seen))
Path(room, "own").write_text("\\n".join(os.environ))
"""
SECRETS = {
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "top-secret",
    "ACTIONS_RUNTIME_TOKEN": "top-secret",
    "GH_TOKEN": "top-secret",
}


@pytest.fixture(scope="module")
def detached(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    folder = tmp_path_factory.mktemp("detached")
    return play(folder, quick(), quick("sick", conftest=DETACHED), compare="none", secrets=SECRETS)


@LINUX
def test_a_process_that_detached_itself_is_ended(detached: Scenario) -> None:
    assert verdict(detached) == (1, "fail")
    pid = int((detached.folder / "temp" / "ready").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert detached.result.environment == ""
    assert "PLANTED" not in (detached.folder / "temp" / "set_output").read_text()


@LINUX
def test_no_parent_of_the_tests_was_started_with_a_token(detached: Scenario) -> None:
    parents = (detached.folder / "temp" / "parents").read_bytes()
    # Root can read the gate's environment; for any other user it is closed.
    assert b"GITHUB_WORKSPACE=" in parents or b"closed" in parents
    assert b"top-secret" not in parents
    assert b"GITHUB_OUTPUT" not in parents
    own = (detached.folder / "temp" / "own").read_text().splitlines()
    assert not {*SECRETS, "GITHUB_OUTPUT", "GRADHEALTH_PYTHON"} & {*own}


# The gate's own code in a process of its own, since it ends all that comes from it


def in_a_gate(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    start = f"import sys; sys.path[:0] = [{str(ACTION)!r}, {str(ROOT)!r}]\n"
    command = [sys.executable, "-S", "-c", start + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_what_a_program_leaves_in_the_background_is_ended(tmp_path: Path) -> None:
    code = """
import os
from pathlib import Path
from gradhealth_gate.process.run import run_visibly
print(run_visibly(["sh", "-c", "sleep 1000 & exit 3"], Path(sys.argv[1]), dict(os.environ)))
"""
    # It has the output's pipe open, which is at its end once nobody has.
    assert in_a_gate(code, str(tmp_path)).stdout.splitlines()[-1] == "3"


@LINUX
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can start another user's process")
def test_a_process_that_cannot_be_ended_is_an_error() -> None:
    code = """
import os, subprocess
from gradhealth_gate.errors import GateError
from gradhealth_gate.process import descendants
descendants.PATIENCE = 0.0
child = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
os.setuid(65534)
try:
    descendants.end_descendants()
except GateError as error:
    print(error, child.pid)
"""
    done = in_a_gate(code)
    said, _, pid = done.stdout.strip().rpartition(" ")
    os.kill(int(pid), 9)
    assert said == f"processes that the tests started cannot be ended: sleep ({pid})"


@LINUX
def test_another_process_cannot_look_into_the_gate() -> None:
    code = """
import ctypes
from gradhealth_gate.process.isolation import protect_process
print(protect_process(), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
    assert in_a_gate(code).stdout.split() == ["True", "0"]
