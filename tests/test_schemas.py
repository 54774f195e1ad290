"""The codes that tables hold: each is given by something."""

from __future__ import annotations

import ast
from pathlib import Path

from counterset.schemas import RejectReason

ROOT = Path(__file__).resolve().parents[1]


def test_every_reject_reason_is_given_by_some_function() -> None:
    """A constant of several reasons and a comparison with one give none."""
    given: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        compared = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Compare) for part in ast.walk(node)}
        given |= {
            node.attr
            for function in functions
            for node in ast.walk(function)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "RejectReason"
            if id(node) not in compared
        }
    assert given == {reason.name for reason in RejectReason}
