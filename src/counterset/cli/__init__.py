"""The command line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from counterset.cli import evaluating, making, releases, similarity
from counterset.errors import UserError

EPILOG = """\
a first look, without network or account:
  counterset demo                        build a release of generated photos and show what was found

a build of your own:
  counterset validate my.toml            check the config before anything is downloaded
  counterset build my.toml               crawl, download, annotate, select, publish; run again to resume
  counterset show releases/mine/1.0.0    what a release holds

in Python:
  import counterset
  release = counterset.load("releases/mine/1.0.0")
  release.common, release.counter        Arrow tables of the two splits
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 2 for a mistake the user can mend."""
    parser = _parser()
    args = parser.parse_args(argv)
    _log(args.verbose)
    try:
        return int(args.run(args))
    except UserError as error:
        print(f"counterset: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("counterset: stopped; run the same command again to resume", file=sys.stderr)
        return 130


def _log(is_verbose: bool) -> None:
    """Log to stderr: everything when asked, else what counterset warns of and the errors of others."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    if not is_verbose:
        # What Prefect logs of a failed run comes again as our own one sentence.
        handler.addFilter(
            lambda record: (
                not record.name.startswith("prefect")
                and record.levelno >= (logging.WARNING if record.name.startswith("counterset") else logging.ERROR)
            )
        )
    logging.basicConfig(level=logging.INFO if is_verbose else logging.WARNING, handlers=[handler])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="counterset",
        description="Build, test and load spurious-background benchmarks for image-text models.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    for group in (making, releases, evaluating, similarity):
        group.add(commands)
    return parser
