"""The reference pages, written from the code, leave nothing out."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

import counterset
from counterset.config import Config
from counterset.config_sections import SOURCES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "docs/reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module


def fields() -> set[str]:
    names: set[str] = set()
    for name, field in Config.model_fields.items():
        kind = field.annotation
        is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
        names |= {f"{name}.{inner}" for inner in kind.model_fields} if is_section else {name}  # type: ignore[union-attr]
    for source in SOURCES:
        names |= {f"source.{name}" for name in SOURCES[source].settings.model_fields}
    return names


def test_every_config_key_is_described(reference: ModuleType) -> None:
    keys = {key.name: key for key in reference.config_keys()}
    assert keys.keys() == fields()
    without = [name for name, key in keys.items() if not key.meaning.endswith(".")]
    assert not without, "write a docstring, one or more sentences, below the declaration of each of these keys"
    page = reference.config_page()
    assert all(f"### `{name}`" in page for name in keys)


def test_types_and_keys_are_told_in_words(reference: ModuleType) -> None:
    keys = {key.name: key for key in reference.config_keys()}
    assert keys["runner"].type == "one of `processes`, `ray`, `threads`"
    assert keys["annotate.method"].type == "one of `combined`, `conditioned`, `plain`, `standardised`, `surroundings`"
    assert keys["max_failed_share"].type == "number from 0.0 to 1.0"
    assert keys["curate.max_pixels"].type == "whole number from 1 to 50,000,000"
    assert keys["source.licenses"].default.startswith('`["cc0", ')
    assert keys["models.annotator"].default == "required"
    assert keys["notify.webhook"].type == "text, a secret"
    assert keys["source.photo_url"].keys == "In no key: a mirror gives the same bytes"
    assert keys["select.mode"].keys.startswith("In the keys of: pairs (not in others: ")
    assert keys["source.kind"].type == "one of `folder`, `inaturalist`, `open_data`, `url_list`"
    assert keys["source.kind"].default == '`"inaturalist"`' and keys["source.order"].kinds == ()
    assert keys["source.path"].kinds == ("folder", "open_data", "url_list")
    assert "| `folder` | A folder of photos, `path`, with one sub-folder per class. |" in reference.config_page()
    assert keys["annotate.method"].keys == "In the keys of: backgrounds"
    assert keys["publish.title"].keys == "In no key: read when the release is written and after"


def test_descriptions_are_in_no_key() -> None:
    """What a config is dumped to for its keys holds values alone."""
    described = Config.model_fields["seed"].description
    assert described and described not in str(Config.model_construct(seed=1).model_dump())


def test_every_argument_of_every_command_has_help(reference: ModuleType) -> None:
    commands = list(reference.commands())
    assert {"counterset build", "counterset classes init", "counterset gc"} <= {parser.prog for parser, _ in commands}
    without = [
        f"{parser.prog} {action.dest}"
        for parser, _ in commands
        for action in reference.arguments(parser)
        if not action.help
    ]
    assert not without
    assert all(text for parser, text in commands[1:])
    page = reference.commands_page()
    assert "`--refresh`" in page and "shards are worked on: processes, ray, threads" in page


def test_every_table_is_described_in_a_module_of_schemas_and_on_the_page(reference: ModuleType) -> None:
    """Every call of TableSchema: those of a name that is computed are the two splits."""
    written: set[str] = set()
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and "TableSchema" in (
                getattr(node.func, name, "") for name in ("id", "attr")
            ):
                assert path.name == "schemas.py", (
                    f"{path} line {node.lineno}: move this table to a module called schemas"
                )
                name = node.args[0]
                written |= {str(name.value)} if isinstance(name, ast.Constant) else {"common", "counter"}
    assert len(written) > 40
    tables, page = reference.tables(), reference.tables_page()
    assert tables.keys() == written
    assert all(f"\n## {name}\n" in page for name in written)
    for schema in tables.values():
        assert {*schema.key} <= {column.name for column in schema.columns}
        assert all(f"| `{column.name}`<br>" in page and column.doc for column in schema.columns), schema.name


def test_every_public_name_is_on_the_python_page(reference: ModuleType) -> None:
    page = reference.python_page()
    for name in counterset.__all__:
        assert name.startswith("__") or f".{name}\n" in page
