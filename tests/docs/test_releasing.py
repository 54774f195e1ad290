"""What docs/releasing.md asks for: the version and the changelog agree, what was to go has gone, and CI runs what the
README says."""

from __future__ import annotations

import ast
import re
from datetime import date
from pathlib import Path

import counterset

ROOT = Path(__file__).resolve().parents[2]
HEADING = re.compile(r"^## (\d+\.\d+\.\d+)(?: \((unreleased|\d{4}-\d\d-\d\d)\))?$")


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def headings(text: str) -> list[tuple[str, str]]:
    """Version and day, or `unreleased`, of each heading; "" = no day stands there."""
    lines = [line for line in text.splitlines() if line.startswith("## ")]
    matches = [HEADING.match(line) for line in lines]
    assert all(matches), f"not of the form '## 0.2.0 (2026-12-01)': {lines}"
    return [(match[1], match[2] or "") for match in matches if match]


def test_version_and_changelog_agree() -> None:
    entries = headings((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    versions = [numbers(version) for version, _ in entries]
    assert versions == sorted(set(versions), reverse=True)
    assert all(day != "unreleased" for _, day in entries[1:])
    for _, day in entries:
        assert not day or day == "unreleased" or date.fromisoformat(day)
    released = [version for version, day in entries if day != "unreleased"]
    assert counterset.__version__ == released[0]


def overdue(code: str, version: str) -> list[str]:
    """The versions by which something in this code was to be removed, and that have come."""
    dues: list[str] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("warn_renamed", "RenamedKey"):
            values = [*node.args[2:3], *(word.value for word in node.keywords if word.arg == "removed_in")]
            dues += [str(value.value) for value in values if isinstance(value, ast.Constant)]
    return [due for due in dues if numbers(due) <= numbers(version)]


def test_what_was_to_be_removed_is_gone() -> None:
    assert overdue('RenamedKey("a", "b", "0.3")\nwarn_renamed("a", "b", removed_in="0.4")', "0.3.1") == ["0.3"]
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]:
        late = overdue(path.read_text(encoding="utf-8"), counterset.__version__)
        assert not late, f"{path.name} still holds what was to go with {late}"


def test_ci_runs_what_the_readme_says_and_pages_name_real_targets() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Test it\n")[2]
    command = section.partition("```bash\n")[2].partition("\n```")[0]
    assert command in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), ROOT / ".ci/run"]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"`make (\w+)`", text) + re.findall(r"^make (\w+)(?: +#.*)?$", text, re.M))
        assert named <= targets, page.name
