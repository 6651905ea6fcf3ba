"""What the action accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
from gradhealth_gate.errors import GateError
from gradhealth_gate.inputs import Inputs, read_inputs


def read(workspace: Path, **inputs: str) -> Inputs:
    variables = {f"GRADHEALTH_{name.upper()}": value for name, value in inputs.items()}
    return read_inputs({"GITHUB_WORKSPACE": str(workspace), **variables})


def test_empty_inputs_take_their_defaults(tmp_path: Path) -> None:
    names = ("pytest_args", "python", "working_directory", "compare", "max_drift", "require_base", "fail_on", "summary")
    expected = Inputs(workspace=tmp_path.resolve(), directory=tmp_path.resolve())
    assert read(tmp_path) == read(tmp_path, **dict.fromkeys(names, " ")) == expected


def test_words_are_split_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "a b's $(x)").mkdir()
    inputs = read(
        tmp_path,
        pytest_args="""-k "a or b" 'tests/a b' $(touch x) `y` # no comment""",
        python="uv run --frozen python",
        working_directory="a b's $(x)",
        max_drift=" 2.5 ",
        require_base="TRUE",
        compare="base",
    )
    assert inputs.pytest_args == (*("-k", "a or b", "tests/a b", "$(touch", "x)", "`y`", "#", "no", "comment"),)
    assert inputs.python == ("uv", "run", "--frozen", "python")
    assert inputs.directory == (tmp_path / "a b's $(x)").resolve()
    assert (inputs.max_drift, inputs.require_base) == (2.5, "true")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pytest_args", "-k 'open", "No closing quotation"),
        ("pytest_args", "--gradhealth-json=x", "is the action's own"),
        ("python", '"', "No closing quotation"),
        ("working_directory", "..", "outside the workspace"),
        ("working_directory", "/", "outside the workspace"),
        ("working_directory", "link", "outside the workspace"),
        ("working_directory", "absent", "was the repository checked out"),
        ("compare", "main", "expected one of none, base, baseline, got 'main'"),
        ("fail_on", "all", "expected one of any, limits, regression, never"),
        ("max_drift", "1", "expected a factor above 1"),
        ("max_drift", "nan", "expected a factor above 1"),
        ("max_drift", "ten", "expected a factor above 1"),
        ("summary", "yes", "expected true or false"),
        ("base_ref", "--upload-pack=x", "no commit, tag or branch"),
        ("base_ref", "a\nb", "no commit, tag or branch"),
        ("baseline_file", "/etc/passwd", "must be relative"),
        ("compare", "baseline", "`baseline-file`"),
        ("fail_on", "regression", "needs `compare: base`"),
        ("require_base", "true", "needs `compare: base`"),
    ],
)
def test_a_wrong_input_is_named(tmp_path: Path, name: str, value: str, message: str) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "link").symlink_to("/")
    with pytest.raises(GateError, match="input `") as caught:
        read(tmp_path / "w", **{name: value})
    assert message in str(caught.value)


def test_all_wrong_inputs_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(GateError) as caught:
        read(tmp_path, compare="x", summary="y", max_drift="z")
    assert str(caught.value).count("input `") == 3
