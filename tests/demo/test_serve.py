"""The look-alike server as a process: it serves what it is told to, and ends with its parent."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import requests
from PIL import Image

from counterset.demo.serve import ServerProcess


def test_a_server_process_serves_and_ends_with_its_parent(small_folder: Path) -> None:
    with ServerProcess("--folder", str(small_folder)) as process:
        body = requests.get(f"{process.api_url}/observations", params={"taxon_id": "41964"}, timeout=10).json()
        assert body["total_results"] == 6
        assert [record.status for record in process.requests()] == [200]
    script = (
        "import sys, time\n"
        "from counterset.demo.serve import ServerProcess\n"
        "process = ServerProcess('--folder', sys.argv[1])\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(small_folder)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and is_running(child):
        time.sleep(0.05)
    assert not is_running(child)


def test_the_demos_world_is_served_by_a_process() -> None:
    with ServerProcess("--photos-per-class", "2", "--seed", "1") as process:
        row = requests.get(f"{process.api_url}/observations", params={"photo_license": "cc-by-nc"}, timeout=10).json()
        photo = next(p for p in row["results"][0]["photos"] if p["license_code"] == "cc-by-nc")
        path = "/photos/" + photo["url"].partition("/photos/")[2].replace("square", "small")
        answer = requests.get(process.photo_url + path, timeout=10)
    assert answer.status_code == 200
    assert max(Image.open(io.BytesIO(answer.content)).size) <= 240


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
