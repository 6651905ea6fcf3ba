"""Does a signal at a random moment of a check leave a trace?

    python tools/signals.py --hits 100 --seed 0

A timer of the system raises in the main thread while a model of ``tests/reliability/models.py`` is checked, as Ctrl-C
and pytest-timeout do. Afterwards the model and the process are compared with what they were, bit for bit.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.reliability import snapshot
from tests.reliability.models import CASES
from tests.reliability.test_no_trace import Timeout, check, made

__all__ = ["main"]


def _raise(number: int, frame: FrameType | None) -> None:
    raise Timeout("at a random moment")


def _seconds(name: str) -> float:
    """How long a check takes, of CPU."""
    case, start = made(name), time.process_time()
    check(case)
    return time.process_time() - start


def _traces(name: str, moment: float) -> list[str] | None:
    """What a signal after so many seconds changed; None: it came too late."""
    case = made(name)
    model, process = snapshot.of_model(case.model), snapshot.of_process()
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, max(moment, 1e-4))
        check(case)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except Timeout:
        pass
    else:
        return None
    model_now, process_now = snapshot.of_model(case.model), snapshot.of_process()
    return snapshot.differences(model_now, model) + snapshot.differences(process_now, process)


def main(arguments: list[str] | None = None) -> int:
    """Print what was left behind; the exit status says whether anything was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hits", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    signal.signal(signal.SIGVTALRM, _raise)
    draw, hits, traced = random.Random(options.seed), 0, 0
    while hits < options.hits:
        name = draw.choice(list(CASES))
        traces = _traces(name, draw.random() * _seconds(name))
        hits += traces is not None
        if traces:
            traced += 1
            print(f"{name}: {traces[0][:200]}", flush=True)
    print(f"{hits} signals, {traced} left a trace")
    return min(traced, 1)


if __name__ == "__main__":
    sys.exit(main())
