"""What can be refused or counted before anyone is asked: nothing here uses the network or a model."""

from __future__ import annotations

from counterset.config import Config
from counterset.errors import ConfigError
from counterset.release.versions.order import check_asked
from counterset.sources import Foresight
from counterset.steps.keys import Build
from counterset.storage import place
from counterset.workspace import check_writable


def check_places(config: Config) -> None:
    """See that the workspace and the releases can be written, under the version that is asked for.

    Raises:
        WorkspaceError: a place cannot be written.
        ReleaseError: the version is none.
    """
    check_writable(place(config.workspace), "workspace")
    check_writable(place(config.releases), "releases")
    check_asked(config.publish.version)


def foresee(build: Build) -> Foresight:
    """What the source offers, as far as that is known without asking anyone.

    Raises:
        ConfigError: the source lacks a setting, or the config's own gate could never be passed.
        SourceError: a class cannot be found in what the source reads.
    """
    least = build.config.publish.min_confirmed
    if least > len(build.specs):
        raise ConfigError(
            f"publish.min_confirmed is {least} and there are {len(build.specs)} classes, so no release could pass; "
            "lower it"
        )
    return build.source.foresee(build.specs)
