"""Commands for people who look at photos: review, browse."""

from __future__ import annotations

import argparse
import contextlib
import threading
from typing import Any
from urllib.parse import quote

REVIEW_HELP = """\
look at the photos of a workspace's last build in a page of this machine, correct names and turn photos away:
  counterset review work/mine --reviewer ada
What is said is kept in WORKSPACE/decisions before the page goes on. Build again once every photo of a class has a
decision: the build applies the class, and its release cites the reviewers. The page never shows what a model says of
a photo.
  counterset review work/mine --audit --reviewer ada
shows a random sample of every group, without names: its labels correct nothing, and say how often names are right
(`naming` of each pair in the next build).
"""
BROWSE_HELP = """\
the same page, read only: every group of every class, confirmed or not, and every photo that was turned away:
  counterset browse releases/mine/1.0.0
  counterset browse work/mine            with all photos that the workspace holds
Photos that are neither bundled nor in a workspace are fetched one at a time, when asked for in the page.
"""


def add(commands: Any) -> None:
    """The commands that serve the page."""
    review = commands.add_parser(
        "review",
        help="look at a build's photos, correct names, turn photos away",
        description=REVIEW_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    review.add_argument("workspace", help="folder or s3:// address, as in the config's `workspace`")
    review.add_argument("--reviewer", default="", help="your pseudonym, which a release cites; asked for by the page")
    review.add_argument("--audit", action="store_true", help="label a random sample of every group, without its names")
    review.add_argument(
        "--half-width",
        type=float,
        default=0.1,
        help="half-width of the interval of each name's precision, which sets an audit's size (default: 0.1)",
    )
    browse = commands.add_parser(
        "browse",
        help="every photo of a release or workspace in a page of this machine",
        description=BROWSE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    browse.add_argument("release", metavar="RELEASE|WORKSPACE", help="as for `show`, or a config's `workspace`")
    for command, run in ((review, _review), (browse, _browse)):
        command.add_argument("--port", type=int, default=0, help="port at 127.0.0.1 (default: any free one)")
        command.set_defaults(run=run)


def _review(args: argparse.Namespace) -> int:
    from counterset.cli.labels import photos_per_group
    from counterset.cli.operations import open_workspace
    from counterset.review.desk import Desk
    from counterset.review.opening import audit_gallery, review_gallery
    from counterset.steps.label_steps import audit_sample

    workspace = open_workspace(args.workspace)
    if args.audit:
        sample = audit_sample(workspace, photos_per_group=photos_per_group(args.half_width))
        gallery = audit_gallery(workspace, sample.to_pylist())
    else:
        gallery = review_gallery(workspace)
    place = f"#reviewer={quote(args.reviewer)}" if args.reviewer else ""
    _serve(gallery, Desk(gallery, workspace), args.port, place)
    return 0


def _browse(args: argparse.Namespace) -> int:
    from counterset.load import load
    from counterset.review.opening import browse_release, browse_workspace, is_workspace
    from counterset.storage import place
    from counterset.workspace import Workspace

    here = not args.release.startswith(("http://", "https://")) and is_workspace(place(args.release))
    gallery = browse_workspace(Workspace(args.release)) if here else browse_release(load(args.release))
    _serve(gallery, None, args.port)
    return 0


def _serve(gallery: Any, desk: Any, port: int, place: str = "") -> None:
    """Serve until the command is told to stop."""
    from counterset.review.serving import serving

    with contextlib.suppress(KeyboardInterrupt), serving(gallery, desk, port) as address:
        print(f"{address}{place}\nopen this address in a browser of this machine; Ctrl-C ends the page", flush=True)
        threading.Event().wait()
