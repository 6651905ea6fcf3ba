"""A report that cannot be written leaves the old one whole, and nothing beside it; what is no file stays what it is."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_gradhealth.report.files import write_text

unix = pytest.mark.skipif(sys.platform == "win32", reason="devices, pipes and signals of Unix")
linux = pytest.mark.skipif(sys.platform != "linux", reason="files without a name")

WRITER = """
import sys
from pytest_gradhealth.report.files import write_text
print("ready", flush=True)
while True:
    write_text(sys.argv[1], sys.argv[2] * 300_000)
"""


@linux
@pytest.mark.parametrize("wait", range(12))
def test_a_kill_while_writing_leaves_whole_files(tmp_path: Path, wait: int) -> None:
    """A kill between two system calls leaves the new text under its first name: Linux cannot replace a file by one
    that has none.
    """
    target = tmp_path / "report.json"
    write_text(target, "a" * 300_000)
    process = subprocess.Popen([sys.executable, "-c", WRITER, target, "b"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    for _ in range(wait * 7):  # some writes further each time
        os.stat(target)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert target.read_text() in ("a" * 300_000, "b" * 300_000)
    others = [path.read_text() for path in tmp_path.iterdir() if path != target]
    assert others in ([], ["b" * 300_000])


def test_two_runs_on_one_file_leave_one_of_the_two(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    texts = [letter * 200_000 for letter in "ab"]
    threads = [threading.Thread(target=lambda t=text: [write_text(target, t) for _ in range(30)]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() in texts
    assert os.listdir(tmp_path) == ["report.json"]


@unix
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    write_text(target, "old")
    code = (
        "import resource, signal, sys\nfrom pytest_gradhealth.report.files import write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_text(sys.argv[1], 'x' * 5000)"
    )
    done = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True, check=False)
    assert "OSError" in done.stderr
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


@unix
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=write_text, args=(pipe, "all of it"))
    writer.start()
    assert pipe.read_text() == "all of it"
    writer.join()
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)


@unix
def test_the_null_device_stays_a_device(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to(os.devnull)
    write_text(link, "gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert link.is_symlink()


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_text(tmp_path, "text")


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127 + "n"])
def test_the_longest_name_there_can_be(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]


TEST = """
import torch
from torch import nn

def test_it(gradhealth):
    gradhealth.measure(lambda: nn.Sequential(nn.Linear(3, 2)), torch.randn(4, 3), lambda out: out.square().mean())
"""


@pytest.mark.parametrize("option", ["json", "markdown", "sarif"])
def test_a_name_that_is_too_long_is_a_usage_error(pytester: pytest.Pytester, option: str) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest(f"--gradhealth-{option}={'n' * 300}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --gradhealth-{option}: *nnn...nnn* cannot be written: File name too long"])


@unix
@pytest.mark.parametrize("option", ["json", "markdown", "sarif"])
def test_a_report_may_go_to_the_null_device(pytester: pytest.Pytester, option: str) -> None:
    pytester.makepyfile(TEST)
    assert pytester.runpytest(f"--gradhealth-{option}={os.devnull}").ret == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@unix
def test_a_folder_that_goes_read_only_during_the_run_is_an_error_that_names_the_file(pytester: pytest.Pytester) -> None:
    code = "import os\ndef test_gone():\n    os.mkdir('out/report.json')\n"
    pytester.mkdir("out")
    pytester.makepyfile(TEST + code)
    result = pytester.runpytest("--gradhealth-json=out/report.json")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(["ERROR: --gradhealth-json: could not write *report.json: *report.json is a folder"])
    result.assert_outcomes(passed=2)
    assert "INTERNALERROR" not in result.stdout.str()


@linux
@pytest.mark.parametrize("path", ["/proc/report.json", "/dev/full"])
@pytest.mark.parametrize("option", ["json", "markdown", "sarif"])
def test_a_folder_or_disk_that_takes_nothing_is_an_error_that_names_the_file(
    pytester: pytest.Pytester, option: str, path: str
) -> None:
    """Nobody can make a file there, not even root, and the folder does not say so beforehand."""
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest(f"--gradhealth-{option}={path}")
    text = result.stdout.str() + result.stderr.str()
    assert result.ret in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)
    assert re.search(rf"ERROR: --gradhealth-{option}: .*{path}", text)
    assert "INTERNALERROR" not in text


@pytest.mark.parametrize("name", ["caf\udce9.json", "NUL.json", "con", "COM1.json", "a\\b.json", "trailing. "])
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere some of these are no file names")
def test_a_file_may_have_any_name_that_the_system_allows(pytester: pytest.Pytester, name: str) -> None:
    """Bytes that are no UTF-8, and names that mean something else on Windows."""
    pytester.makepyfile("def test_it(): pass")
    assert pytester.runpytest(f"--gradhealth-json={name}").ret == 0
    assert json.loads(Path(pytester.path, name).read_text(encoding="utf-8"))["checks"] == []


@unix
def test_in_the_c_locale_every_name_is_written(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    code = "class Größe(nn.Sequential): pass\n" + TEST.replace("nn.Sequential(", "Größe(")
    Path(pytester.path, "test_a.py").write_text(TEST[: TEST.index("def")] + code, encoding="utf-8")
    options = [f"--gradhealth-{name}={name}.txt" for name in ("json", "markdown", "sarif")]
    result = pytester.runpytest_subprocess("--gradhealth-report", *options)
    assert result.ret == 0
    written = json.loads(Path(pytester.path, "json.txt").read_text(encoding="utf-8"))
    assert written["checks"][0]["name"] == "Größe"
    assert "Größe" in Path(pytester.path, "markdown.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("field", "value"),
    [("norm", -1.0), ("parameters", 10**400), ("reach", -0.5), ("dead", -7.0), ("units", 10**300), ("gain", 1e308)],
)
def test_show_answers_whatever_number_the_schema_allows(report, tmp_path: Path, field: str, value: float) -> None:
    from pytest_gradhealth.__main__ import main
    from pytest_gradhealth.report.store import write_report

    write_report(tmp_path / "report.json", report)
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    document["checks"][0]["record"]["layers"][0][field] = value
    (tmp_path / "report.json").write_text(json.dumps(document), encoding="utf-8")
    assert main(["show", str(tmp_path / "report.json")]) == 1  # one of its checks is unhealthy
    document["checks"] = document["checks"][:1]
    (tmp_path / "report.json").write_text(json.dumps(document), encoding="utf-8")
    assert main(["show", str(tmp_path / "report.json")]) in (0, 2)
