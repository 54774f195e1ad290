"""What several rooms of the demo test with."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    for name in ("lion", "my_newt"):
        (tmp_path / name).mkdir()
        for number in range(6):
            (tmp_path / name / f"{number}.jpg").write_bytes(_jpeg(90 + number, 80))
    return tmp_path


def _jpeg(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (30, 120, 40)).save(buffer, "JPEG")
    return buffer.getvalue()
