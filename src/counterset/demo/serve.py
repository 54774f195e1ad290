"""The look-alike server as a process of its own, so that rendering photos shares no lock with the flow.

python -m counterset.demo.serve --photos-per-class 60 --seed 0
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from counterset.demo.server.look_alike import LOG_ROUTE, LookAlikeServer, RequestRecord
from counterset.demo.world import WORLDS
from counterset.errors import SourceUnavailable


class ServerProcess:
    """A running `python -m counterset.demo.serve`, ended by `close`, a `with` block, or its parent's death.

    The child holds the reading end of a pipe to its parent and ends when that
    closes, which the kernel does even when the parent is killed with -9.

    Args:
        arguments: as on the server's command line, e.g. `("--photos-per-class", "60")`.
        start_timeout_s: how long the catalogue may take to make.

    Raises:
        SourceUnavailable: the server does not start.
    """

    def __init__(self, *arguments: str, start_timeout_s: float = 120.0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "counterset.demo.serve", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C at the terminal is for the parent, which ends it in its own time
        )
        assert self._process.stdout is not None
        try:
            ready, _, _ = select.select([self._process.stdout], [], [], start_timeout_s)
            self.url = self._process.stdout.readline().strip() if ready else ""
        except BaseException:  # told to stop: the child must not find out by a pipe that is broken
            self._process.kill()
            self.close()
            raise
        if not self.url:
            self.close()
            raise SourceUnavailable("the demo's server did not start; run 'python -m counterset.demo.serve' to see why")

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def api_url(self) -> str:
        """For the config's `source.api_url`."""
        return f"{self.url}/v1"

    @property
    def photo_url(self) -> str:
        """For the config's `source.photo_url`."""
        return self.url

    def requests(self) -> list[RequestRecord]:
        """The server's own log so far."""
        with urllib.request.urlopen(self.url + LOG_ROUTE, timeout=30) as answer:
            return [RequestRecord(**row) for row in json.load(answer)]

    def close(self) -> None:
        """End the server and wait for it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until standard input closes, so that no server outlives who started it."""
    # Here, for those who start this process need neither drawing nor pictures.
    from counterset.demo.server.photo_folder import folder_catalog
    from counterset.demo.world.observations import demo_catalog

    parser = argparse.ArgumentParser(prog="counterset.demo.serve", description=main.__doc__)
    parser.add_argument("--folder", help="serve the photos <class>/*.jpg of this folder instead of the demo's world")
    parser.add_argument("--photos-per-class", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--world", choices=WORLDS, default="showcase", help="what its photos and texts are like")
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    options = parser.parse_args(arguments)
    if options.folder:
        catalog = folder_catalog(Path(options.folder), options.seed)
    else:
        catalog = demo_catalog(options.photos_per_class, options.seed, options.world)[0]
    server = LookAlikeServer(catalog, options.port)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    server.serve_forever()
    return 0


def _end_with_parent(parent: int) -> None:
    """End this process when its standard input closes or its parent changes (kill -9 of the parent included)."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
