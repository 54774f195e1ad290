"""The rebuild flow, for schedules: look at the source again and publish what changed."""

from __future__ import annotations

from prefect import flow

from counterset.config import load_config
from counterset_flows.build import build


@flow(name="counterset-rebuild")
def rebuild(config_path: str) -> str:
    """Refresh the build of a config file; the folder of the newest release.

    Raises:
        UserError: something that the user can mend, in one sentence.
    """
    return str(build(load_config(config_path), refresh=True).release)
