"""Prefect's profile for schedules: a server on this machine that asks for a password, and that password for clients."""

from __future__ import annotations

import secrets
from pathlib import Path

from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_PROFILES_PATH,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_API_AUTH_STRING,
    PREFECT_SERVER_API_PORT,
    PREFECT_SERVER_CORS_ALLOWED_ORIGINS,
    load_profiles,
    save_profiles,
)

from counterset.errors import WorkspaceError

NAME = "counterset"


def write_profile() -> tuple[str, Path]:
    """Write the profile, with a new password unless it has one.

    The file is for its owner alone. The port is PREFECT_SERVER_API_PORT's.

    Returns:
        The address of the server's pages, and the file.

    Raises:
        WorkspaceError: the file of profiles cannot be read or written.
    """
    try:
        port = PREFECT_SERVER_API_PORT.value()
        path: Path = PREFECT_PROFILES_PATH.value()
        if path.exists():
            path.chmod(0o600)  # Prefect makes a new one so
        profiles = load_profiles()
        known = profiles[NAME].settings if NAME in profiles else {}
        password = known.get(PREFECT_SERVER_API_AUTH_STRING) or f"counterset:{secrets.token_urlsafe(24)}"
        page = f"http://127.0.0.1:{port}"
        profiles.update_profile(
            NAME,
            {
                PREFECT_API_URL: f"{page}/api",
                PREFECT_API_AUTH_STRING: password,
                PREFECT_SERVER_API_AUTH_STRING: password,
                PREFECT_SERVER_CORS_ALLOWED_ORIGINS: f"{page},http://localhost:{port}",
                PREFECT_SERVER_ANALYTICS_ENABLED: "false",
            },
            source=path,
        )
        save_profiles(profiles)
    except (OSError, ValueError) as error:
        raise WorkspaceError(
            f"Prefect's profiles cannot be read or written ({' '.join(str(error).split())[:200]}); "
            "fix profiles.toml in its home folder, or set PREFECT_HOME to another one"
        ) from error
    return page, path
