"""Commands for whoever runs builds: status, gc, prefect-profile."""

from __future__ import annotations

import argparse
from typing import Any

from counterset.cli.printing import print_table

STATUS_HELP = """\
what a workspace's last build has done, is doing, and what is left:
  counterset status work/mine
"""
GC_HELP = """\
free what neither a release that is still there nor the last finished build needs:
  counterset gc work/mine          says what would be deleted
  counterset gc work/mine --yes    deletes it; a later build makes again what it needs
Old releases keep their files alive: delete a release's folder first to free what only it needs.
"""
PROFILE_HELP = """\
for schedules: write the profile `counterset` of Prefect, with a new password unless it has one. A server that
is started with it answers only who knows the password, and no page of another site:
  counterset prefect-profile
  export PREFECT_PROFILE=counterset
  prefect server start                   and so on: every prefect command in this shell uses it
"""


def add(commands: Any) -> None:
    """The commands on workspaces, and the one on Prefect."""
    profile = commands.add_parser(
        "prefect-profile",
        help="make the password of a Prefect server, for schedules",
        description=PROFILE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    profile.set_defaults(run=_prefect_profile)
    for name, text, more, run in (
        ("status", "what a workspace has done, what is running, failed and left", STATUS_HELP, _status),
        ("gc", "free what no release of a workspace needs", GC_HELP, _gc),
    ):
        command = commands.add_parser(
            name, help=text, description=more, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add_argument("workspace", help="folder or s3:// address, as in the config's `workspace`")
        command.set_defaults(run=run)
        if name == "gc":
            command.add_argument("--yes", action="store_true", help="delete, not only say what would be deleted")


def _status(args: argparse.Namespace) -> int:
    from counterset.build_records import KILLED, RUNNING, latest
    from counterset.workspace_files import failures, sizes

    workspace = open_workspace(args.workspace)
    run = latest(workspace)
    if run is None:
        print(f"no build has run in {workspace.root}")
        return 0
    ended = f", ended {run.ended_at}" if run.ended_at else ""
    print(f"{run.name}: {run.state}, began {run.started_at}{ended}")
    if run.reason:
        print(run.reason)
    if run.state == RUNNING and not run.process.is_here:
        print(f"its process is on {run.process.machine} and cannot be seen from here; this is its last record")
    if run.state == KILLED:
        print("run the build again: it goes on where it stopped")
    print_table("stages of the last build", [_stage_row(name, counts) for name, counts in run.stages.items()])
    aside = [
        {"stage": row.stage, "shard": row.shard, "model": row.model, "tries": str(row.attempts), "reason": row.reason}
        for row in failures(workspace)
    ]
    if aside:
        print_table("set aside, to be tried again by the next build", aside)
    rows = [
        {"files of": stage, "number": str(number), "MB": f"{size / 1e6:,.1f}"}
        for stage, (number, size) in sizes(workspace).items()
    ]
    print_table("on disk", rows)
    if run.release:
        print(f"release  {run.release}")
    return 0


def _stage_row(name: str, counts: Any) -> dict[str, str]:
    done, seconds = int(counts.get("done", 0)), counts.get("seconds", 0.0)
    reused = int(counts.get("reused", 0))
    left = int(counts.get("total", 0)) - done - reused
    rate = done / seconds if seconds else 0.0
    return {
        "stage": name,
        "done": f"{done:,}",
        "reused": f"{reused:,}",
        "left": f"{left:,}",
        "seconds": f"{seconds:,.0f}",
        "per second": f"{rate:,.1f}" if done else "",
    }


def _gc(args: argparse.Namespace) -> int:
    from counterset.workspace_files import free, unneeded

    workspace = open_workspace(args.workspace)
    with workspace.locked():
        unused = unneeded(workspace)
        total = sum(stage.size_bytes for stage in unused)
        if not unused:
            print(f"nothing to free in {workspace.root}: every file is of a release or of the last finished build")
            return 0
        rows = [
            {"files of": stage.stage, "number": str(len(stage.files)), "MB": f"{stage.size_bytes / 1e6:,.1f}"}
            for stage in unused
        ]
        print_table("needed by no release", rows)
        if not args.yes:
            print(f"{total / 1e6:,.1f} MB would be freed; add --yes to delete them")
            return 0
        free(unused)
    print(f"freed {total / 1e6:,.1f} MB")
    return 0


def _prefect_profile(args: argparse.Namespace) -> int:
    from counterset_flows.profile import NAME, write_profile

    page, path = write_profile()
    print(f"{path} has the profile {NAME}: a server at {page} that asks for a password")
    print(f"export PREFECT_PROFILE={NAME}   # then `prefect server start`, `prefect worker start` and others use it")
    return 0


def open_workspace(address: str) -> Any:
    """The workspace at an address.

    Raises:
        WorkspaceError: it is no folder.
    """
    from pathlib import Path

    from counterset.errors import WorkspaceError
    from counterset.workspace import Workspace

    workspace = Workspace(address)
    if isinstance(workspace.root, Path) and not workspace.root.is_dir():
        raise WorkspaceError(f"{address} is no workspace; give the folder that `workspace` names in the config")
    return workspace
