"""The command line: check a model without a test, and read reports without pytest and without torch."""

# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

SAME, REGRESSION, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0 for healthy or unchanged, 1 for a regression, 2 for a usage error."""
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:
        _complete(parser)
    options = parser.parse_args(arguments)
    from pytest_gradhealth.report.store import StoreError

    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character should cost that character, not the whole answer.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads, such as head, has enough; nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE
    except (StoreError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    return code


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks what may stand next, where argcomplete is installed, as pytest does."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_gradhealth", description="Check models, and read gradient health reports."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    compare = commands.add_parser("compare", help="say what got worse between two reports")
    compare.add_argument("base", metavar="BASE.json", help="the older report, of --gradhealth-json")
    compare.add_argument("head", metavar="HEAD.json", help="the newer report")
    compare.add_argument("--format", choices=["text", "markdown", "json", "github"], default="text")
    compare.add_argument("--max-drift", metavar="FACTOR", type=_factor, default=3.0, help="default: %(default)s")
    compare.set_defaults(run=_compare)

    show = commands.add_parser("show", help="print the tables of a report; exit code 1 if one is unhealthy")
    show.add_argument("report", metavar="REPORT.json")
    show.add_argument("-v", "--verbose", action="count", default=0, help="every layer")
    show.add_argument("--ascii", action="store_true", help="use no character beyond ASCII")
    show.set_defaults(run=_show)

    from pytest_gradhealth.command import add_check
    from pytest_gradhealth.explain import add_explain

    add_check(commands)
    add_explain(commands)

    schema = commands.add_parser("schema", help="print the JSON Schema of a report")
    schema.set_defaults(run=_schema)
    return parser


class _Version(argparse.Action):
    """Asks for the version only when a user does: looking it up reads the metadata of what is installed."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import pytest_gradhealth

        print(f"pytest-gradhealth {pytest_gradhealth.__version__}")
        parser.exit()


def _factor(text: str) -> float:
    from pytest_gradhealth.judge.drift import drift_limit

    try:
        return drift_limit(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _compare(options: argparse.Namespace) -> int:
    from pytest_gradhealth.compare import compare_reports
    from pytest_gradhealth.report import difference

    comparison = compare_reports(options.base, options.head, options.max_drift)
    if options.format == "json":
        print(comparison.to_json())
    else:
        render = {
            "text": difference.render_text,
            "markdown": difference.render_markdown,
            "github": difference.render_github,
        }[options.format]
        print(render(comparison.to_dict()), end="")
    return REGRESSION if comparison.outcome == "regression" else SAME


def _show(options: argparse.Namespace) -> int:
    import shutil

    from pytest_gradhealth.report.escape import plain
    from pytest_gradhealth.report.store import StoreError, read_report
    from pytest_gradhealth.report.table import render

    report = read_report(options.report)
    width = shutil.get_terminal_size().columns
    for stored in report.checks:
        print(f"{plain(stored.test)} ({plain(stored.outcome)})")
        try:
            text = render(stored.check, width=width, ascii_only=options.ascii, verbosity=options.verbose)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise StoreError(f"{options.report}: checks of {plain(stored.test)}: cannot be shown: {error}") from None
        print(text)
        print()
    return SAME if report.healthy else REGRESSION


def _schema(_: argparse.Namespace) -> int:
    import json

    from pytest_gradhealth.report.store import report_schema

    print(json.dumps(report_schema(), indent=2))
    return SAME


def run() -> None:
    """The installed script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
