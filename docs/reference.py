"""Reference pages of the documentation site, written from the code at each build (a MkDocs hook)."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from mkdocs.structure.files import File, Files
from pydantic import BaseModel

import counterset
from counterset.cli import _parser
from counterset.config import Config
from counterset.schemas import TableSchema


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    pages = {"config": config_page(), "commands": commands_page(), "tables": tables_page()}
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def config_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and meaning of every config key, sections inside out."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from config_keys(kind, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
        yield f"{prefix}{name}", _type(kind), default, " ".join((field.description or "").split())


def config_page() -> str:
    """A section per part of the config, a row per key."""
    lines = ["# Config keys", "", "A build is one TOML file. Relative paths are relative to the file.", ""]
    section = None
    for name, kind, default, meaning in config_keys():
        head, _, key = name.rpartition(".")
        if head != section:
            section = head
            text = (Config if not head else _model(head)).__doc__ or ""
            lines += ["", f"## `[{head}]`" if head else "## Top level", "", " ".join(text.split()), ""]
            lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines.append(f"| `{key}` | {_cell(kind)} | {_cell(default)} | {_cell(meaning)} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """What `--help` says, a section per command."""
    lines = ["# Command line", ""]
    for name, parser in _commands(_parser()):
        lines += [f"## `{name}`", "", "```text", parser.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def tables_page() -> str:
    """A section per table, a row per column."""
    lines = ["# Tables", "", "Accuracies are fractions in [0, 1], drops in [-1, 1]. Every file says its table and its"]
    lines += ["schema's version in its Parquet metadata.", ""]
    for name, schema in sorted(tables().items()):
        lines += [f"## {name}", "", f"One row per {_without_article(schema.row)}; sorted by "]
        lines[-1] += f"{', '.join(f'`{part}`' for part in schema.key)}."
        lines += ["", "| column | type | may be null | meaning |", "|---|---|---|---|"]
        for column in schema.columns:
            null = "yes" if column.nullable else ""
            lines.append(f"| `{column.name}` | `{column.type}` | {null} | {_cell(column.doc)} |")
        lines.append("")
    return "\n".join(lines)


def tables() -> dict[str, TableSchema]:
    """Every table schema of the package by its name."""
    found: dict[str, TableSchema] = {}
    for module in pkgutil.walk_packages(counterset.__path__, "counterset."):
        if module.name.rpartition(".")[2] in ("schemas", "layout"):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, TableSchema):
                    found[value.name] = value
    return found


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield parser.prog, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _commands(child)


def _model(path: str) -> type[BaseModel]:
    model: Any = Config
    for part in path.split("."):
        model = model.model_fields[part].annotation
    return model  # type: ignore[no-any-return]


def _type(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind) if isinstance(kind, type) else kind).replace("typing.", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _without_article(text: str) -> str:
    return text.removeprefix("one ").removeprefix("a ").removeprefix("an ")
