"""Install a wheel or an sdist into a clean environment, and run a test there: ``python tools/try_package.py FILE``.

What follows the file goes to ``pip install``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TEST = """\
import pytest
import torch
from torch import nn

BATCH = torch.randn(8, 4), torch.randn(8, 2)


def test_healthy(gradhealth):
    assert len(gradhealth.check(lambda: nn.Linear(4, 2), BATCH, loss=nn.functional.mse_loss)) == 1


def test_sick(gradhealth):
    frozen_scale = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with pytest.raises(AssertionError, match="GH105"):
        step = lambda model, batch: nn.functional.mse_loss(model[1](model[0](batch[0]).detach()), batch[1])
        gradhealth.check(frozen_scale, BATCH, step=step)
"""


def main(file: str, *options: str) -> None:
    """Ends with the first command that fails."""
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        venv.create(room / "venv", with_pip=True)
        python = room / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        (room / "test_it.py").write_text(TEST, encoding="utf-8")
        where = [str(Path(option).resolve()) if Path(option).is_file() else option for option in options]
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        for command in (
            ("pip", "install", "--quiet", str(Path(file).resolve()), *where),
            ("pip", "check"),
            ("pytest", "-q", "-p", "no:cacheprovider", "--gradhealth", "test_it.py"),
            ("pytest_gradhealth", "--version"),
        ):
            subprocess.run([python, "-m", *command], cwd=room, env=environment, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
