"""The code in README, CONTRIBUTING and docs.

Python runs, a page's blocks one after the other, beside the packaged release in `releases/`. A block after a comment
`<!-- not executed: REASON -->` is only compiled, and its imports are run. Shell is not run, for it builds, serves and
downloads: it is parsed by bash, and each `counterset` command by the command line's own parser. Of TOML the keys must
be those of a config, and what has a name must be a whole one; class lists and vocabularies in CSV are read.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from counterset.backgrounds import load_vocabulary
from counterset.classes import load_classes
from counterset.cli import _parser
from counterset.config import Config, parse_config
from counterset.config_sections import section_of
from counterset.manifests import manifest_path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
LANGUAGES = {"bash", "python", "toml", "json", "ini", "text", "csv"}
FENCE = re.compile(
    r"(?:<!-- not executed: (?P<reason>[^\n]+?) -->\n\n?)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page; `reason` says why it is not executed, "" = it is."""

    language: str
    text: str
    reason: str


def blocks(page: str) -> list[Block]:
    return [Block(found["language"], found["text"], found["reason"] or "") for found in FENCE.finditer(page)]


def of(language: str) -> list[Any]:
    """The pages that have blocks of a language, with them."""
    found = {page: [b for b in blocks(page.read_text(encoding="utf-8")) if b.language == language] for page in PAGES}
    return [pytest.param(some, id=page.name) for page, some in found.items() if some]


def commands(text: str) -> list[list[str]]:
    """The words of each `counterset` command of a shell block."""
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if "counterset" in line[:1]]


def test_every_block_says_its_language() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = blocks(text)
        assert len(found) == len(re.findall(r"^```", text, re.M)) / 2, f"a fence of {page.name} does not end"
        assert {block.language for block in found} <= LANGUAGES, page.name
        assert text.count("<!-- not executed:") == sum(bool(block.reason) for block in found), page.name


@pytest.mark.parametrize("page", of("python"))
def test_python_runs(page: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(manifest_path("releases/counterset-demo"), tmp_path / "releases/counterset-demo")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in page:
        tree = ast.parse(block.text)
        if block.reason:
            tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        exec(compile(tree, "page", "exec"), names)


@pytest.mark.parametrize("page", of("bash"))
def test_shell_parses(page: list[Block]) -> None:
    for block in page:
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
        for words in commands(block.text):
            try:
                _parser().parse_args(words[1:])
            except SystemExit:
                pytest.fail(f"no such command: {shlex.join(words)}")


@pytest.mark.parametrize("page", of("toml"))
def test_toml_has_known_keys(page: list[Block]) -> None:
    for block in page:
        if "name" in (settings := tomllib.loads(block.text)):
            parse_config(settings, base=ROOT)  # a whole config
        for name, value in settings.items():
            section: Any = section_of(value) if name == "source" else Config.model_fields[name].annotation
            assert not isinstance(value, dict) or value.keys() <= section.model_fields.keys(), value


@pytest.mark.parametrize("page", of("csv"))
def test_csv_is_read(page: list[Block], tmp_path: Path) -> None:
    path = tmp_path / "of_a_page.csv"
    for block in page:
        path.write_text(block.text, encoding="utf-8")
        rows = load_classes(str(path)) if block.text.startswith("class_id,") else load_vocabulary(str(path))
        assert len(rows) == 2


def test_files_that_pages_name_are_there() -> None:
    """A recipe that names a file which has moved sends its reader astray."""
    named = re.compile(r"`((?:src|flows|tests|docs|benchmarks|configs|data_manifests|examples)/[\w./-]+)`")
    for page in PAGES:
        missing = [name for name in named.findall(page.read_text(encoding="utf-8")) if not (ROOT / name).exists()]
        assert not missing, f"{page.name} names {missing}"
    assert len(named.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))) > 30


def test_commands_are_found() -> None:
    found = commands("# first\ncounterset show x  # what\npip install counterset\ncounterset diff a \\\n  b\n")
    assert found == [["counterset", "show", "x"], ["counterset", "diff", "a", "b"]]
    readme = [b for b in blocks((ROOT / "README.md").read_text(encoding="utf-8")) if b.language == "bash"]
    assert sum(len(commands(block.text)) for block in readme) > 10
