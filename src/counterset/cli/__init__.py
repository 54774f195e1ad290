"""The command line."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence

from counterset.cli import (
    balancing,
    causes,
    comparing,
    evaluating,
    intervening,
    labels,
    making,
    operations,
    releases,
    reviewing,
    similarity,
    starting,
    stopping,
    streams,
    verdicts,
)
from counterset.errors import UserError
from counterset.version import __version__

logger = logging.getLogger(__name__)

EPILOG = """\
a first look, without network or account:
  counterset demo                        build a release of generated photos and show its pairs

a build of your own:
  counterset init photos                 write a config from a folder of photos (or a list, or names)
  counterset validate my.toml            check the config before anything is downloaded
  counterset plan my.toml                what it will cost, and which drops it confirms
  counterset build my.toml               crawl, download, annotate, select, publish; run again to resume
  counterset show releases/mine/1.0.0    what a release holds
  counterset status work/mine            what is done, running, failed, left

people in the loop:
  counterset review work/mine            look at the photos, correct names, turn photos away; then build again
  counterset browse releases/mine/1.0.0  every group of every class, and every photo turned away

your models:
  counterset evaluate releases/mine/1.0.0 --model ViT-B-32/laion400m_e31 --model timm:resnet50
  counterset intervene releases/mine/1.0.0 --masks masks --model ViT-B-32/laion400m_e31    before other backgrounds

against a training set (embeddings in Parquet, .npy or clip-retrieval's layout):
  counterset audit RELEASE --against EMBEDDINGS                  near duplicates; drops at equal distance
  counterset prune --base EMBEDDINGS --queries RELEASE --reference EMBEDDINGS

any grouped answers, or slices that a finder proposed:
  counterset verdict answers.csv         class, group, correct (docs/verdict.md)

captions, before they become a list:
  counterset balance captions.parquet --entries entries.txt --output balanced    evenly over what they name

in Python:
  import counterset
  release = counterset.load("releases/mine/1.0.0")
  release.common, release.counter        Arrow tables of the two splits
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0; 2 for a mistake that the user can fix; 128 and the signal's number for a command that was
        stopped (130 by Ctrl-C, 143 by SIGTERM); 141 when nobody reads its output any more.
    """
    streams.prepare()
    with stopping.watching() as stop:
        try:
            parser = _parser()
            if "_ARGCOMPLETE" in os.environ:  # a shell asks what may follow
                importlib.import_module("argcomplete").autocomplete(parser)
            args = parser.parse_args(argv)
            repeats = _log(args.verbose, args.log_json)
            try:
                code = int(args.run(args))
            finally:
                repeats.tell()
            sys.stdout.flush()
            return code
        except BaseException as error:
            if stop.signal:  # what else went wrong meanwhile came of it
                stop.tell()
                return stop.code
            return _told(error)


def _told(error: BaseException) -> int:
    """Print an error that the user can do something about, and give its exit code.

    Raises:
        error: it is another one.
    """
    if isinstance(error, UserError):
        streams.complain(str(error))
        return 2
    if isinstance(error, BrokenPipeError) and streams.is_unread():
        streams.silence(1)
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError) and (error.filename or streams.is_disk_full(error)):
        if not error.filename:
            streams.silence(1)
        logger.info("the error", exc_info=error)
        streams.complain(f"cannot use {error.filename or 'standard output'} ({error.strerror})")
        return 2
    raise error


class Repeats(logging.Filter):
    """Lets the first warning of a kind pass, and tells in the end how many more there were."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[tuple[str, str], str] = {}
        self._more: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.name, str(record.msg)
        if record.levelno != logging.WARNING or kind not in self._first:
            self._first[kind] = record.getMessage()
            return True
        self._more[kind] += 1
        return False

    def tell(self) -> None:
        for kind, number in self._more.items():
            streams.complain(f"{number} more warnings of this kind: {self._first[kind]}")
        self._more.clear()


def _log(is_verbose: bool, as_json: bool) -> Repeats:
    """Log to stderr: everything when asked, else what counterset warns of, once of a kind, and the errors of others."""
    repeats = Repeats()
    logging.captureWarnings(True)  # those of libraries, as those of their loggers
    handler = logging.StreamHandler()
    if as_json:
        from pythonjsonlogger.json import JsonFormatter

        names = {"levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter("%(levelname)s %(name)s %(message)s", timestamp=True, rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    if not is_verbose and not as_json:
        # What Prefect logs of a failed run comes again as our own one sentence.
        handler.addFilter(
            lambda record: (
                not record.name.startswith("prefect")
                and record.levelno >= (logging.WARNING if record.name.startswith("counterset") else logging.ERROR)
            )
        )
        handler.addFilter(repeats)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # every request to Prefect's server
    logging.basicConfig(level=logging.INFO if is_verbose or as_json else logging.WARNING, handlers=[handler])
    return repeats


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="counterset",
        description="Build, test and load spurious-background benchmarks for image-text models.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"counterset {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done")
    parser.add_argument(
        "--log-json", action="store_true", help="log what is done to stderr as JSON, one object per line"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    for group in (
        starting,
        making,
        labels,
        reviewing,
        releases,
        causes,
        evaluating,
        comparing,
        intervening,
        similarity,
        verdicts,
        balancing,
        operations,
    ):
        group.add(commands)
    return parser
