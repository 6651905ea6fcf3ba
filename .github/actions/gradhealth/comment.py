"""Where the comment workflow starts: ``python3 -I -S comment.py FOLDER OUTPUT``, with nothing installed."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Write the comment."""
    sys.path[:0] = [str(HERE), str(HERE.parents[2])]
    from gradhealth_gate.report.comment import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
