"""Prefect's temporary server as a process of its own: `python -m counterset_flows.temporary_server`.

It chooses a free port on 127.0.0.1, prints it at once, and serves as soon as it is ready: requests made before
wait. When it cannot start, its last line on stderr says why and the exit code is not 0. Its password comes in the
environment, where no other user of the machine can read it.
"""

from __future__ import annotations

import gc
import os
import socket
import sys


def main() -> int:
    """Serve until the process is told to end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        os.dup2(2, 1)  # the parent reads nothing but the port
        gc.disable()  # what is imported stays; to search it for garbage takes a seventh of the start
        import uvicorn
        from prefect.server.api.server import create_app

        settings = uvicorn.Config(create_app(ephemeral=True, final=True), lifespan="on", log_level="error")
        gc.freeze()
        gc.enable()
        server = uvicorn.Server(settings)
        server.run(sockets=[listener])
        return 0 if server.started else 3


if __name__ == "__main__":
    sys.exit(main())
