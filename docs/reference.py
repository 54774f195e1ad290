"""Reference pages of the documentation site, written from the code at each build (a MkDocs hook)."""

from __future__ import annotations

import argparse
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from markdown.extensions.toc import slugify
from mkdocs.structure.files import File, Files
from pydantic import BaseModel, SecretStr

import counterset
from counterset.cli import _parser
from counterset.config import Config
from counterset.config_sections import ANNOTATORS, DEFAULT_SOURCE, SOURCES, SourceConfig
from counterset.content import STAGES, marks_of
from counterset.runners import RUNNERS
from counterset.schemas import TableSchema
from counterset.steps.keys import READS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(counterset.__file__).parent
EXAMPLE_DIM = 512
"""For the tables whose schema depends on the length of a model's features."""


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages, and the page for contributors, which lies where contributors look for it."""
    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "contributing.md", content=contributing))
    files.append(File.generated(config, "examples.md", content=examples_page()))
    return files


def examples_page() -> str:
    """The examples' list, and their code below it."""
    lines = [(ROOT / "examples/README.md").read_text(encoding="utf-8")]
    folder = ROOT / "examples"
    paths = [*folder.glob("*.py"), *folder.rglob("*.toml"), *folder.rglob("counterset_extras/[a-z]*.py")]
    for path in sorted(paths, key=lambda path: (len(path.parts), path.suffix, path)):
        name, code = path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")
        kind = "python" if path.suffix == ".py" else "toml"
        lines += [f"## `{name}`", "", f"```{kind}", code.rstrip(), "```", ""]
        lines[0] = lines[0].replace(f"]({name})", f"](#{toc_id(name)})")
    lines[0] = lines[0].replace("](counterset-extras)", f"](#{toc_id('counterset-extras/pyproject.toml')})")
    return "\n".join(lines)


def toc_id(heading: str) -> str:
    """The anchor that Markdown's table of contents gives a heading."""
    return slugify(heading, "-")


REGISTERED = {"source.kind": SOURCES, "annotate.method": ANNOTATORS, "runner": RUNNERS}
"""Config keys whose values are names of a registry."""


def pages() -> dict[str, str]:
    """Name -> Markdown of each generated page."""
    return {"config": config_page(), "commands": commands_page(), "tables": tables_page(), "python": python_page()}


@dataclass(frozen=True)
class Key:
    """One config key as the reference shows it; `kinds` are those of sources that have it, () = all."""

    name: str
    type: str
    default: str
    meaning: str
    keys: str
    kinds: tuple[str, ...] = ()


def config_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[Key]:
    """Every config key, a section's after each other."""
    marks = marks_of(model)
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from config_keys(kind, f"{prefix}{name}.")
            continue
        is_required, default = field.is_required(), field.get_default(call_default_factory=True)
        if prefix + name == "source.kind":
            is_required, default = False, DEFAULT_SOURCE
        if registry := REGISTERED.get(prefix + name):
            kind = Literal[tuple(registry)]
        yield Key(
            prefix + name,
            _type(kind, field.metadata),
            "required" if is_required else f"`{_toml(default)}`",
            " ".join((field.description or "").split()),
            _keys(prefix.rstrip("."), marks[name]),
        )
    if model is SourceConfig:
        yield from _keys_of_kinds()


def _keys_of_kinds() -> Iterator[Key]:
    """The keys that only some kinds of sources have, each once."""
    found: dict[str, Key] = {}
    for kind in SOURCES:
        for key in config_keys(SOURCES[kind].settings, "source."):
            if key.name.removeprefix("source.") not in SourceConfig.model_fields:
                before = found.get(key.name, key)
                found[key.name] = replace(before, kinds=(*before.kinds, kind))
    yield from found.values()


def _keys(section: str, marks: Any) -> str:
    """In which stages' keys a setting is, and why not in others."""
    reads = [stage for stage in STAGES if not section or section in READS[stage]]
    held = [stage for stage in reads if not any(mark.covers(stage) for mark in marks)]
    reasons = "; ".join(mark.reason for mark in marks)
    if held:
        return f"In the keys of: {', '.join(held)}" + (f" (not in others: {reasons})" if reasons else "")
    return f"In no key: {reasons or 'read when the release is written and after'}"


def config_page() -> str:
    """A heading per key, so that search and links find each."""
    lines = ["# Config keys", "", "A build is one TOML file. Relative paths are relative to the file.", ""]
    lines += [
        "Finished files are filed under keys. When a setting changes, the files of the stages in whose keys it is are"
    ]
    lines += ["made anew, and those of later stages where their inputs come out different. The page"]
    lines += ["[What is made anew when something changes](../keys.md) has the measured table.", ""]
    section = None
    for key in config_keys():
        head, _, _ = key.name.rpartition(".")
        if head != section:
            section = head
            text = (Config if not head else Config.model_fields[head].annotation).__doc__ or ""  # type: ignore[union-attr]
            lines += [f"## [{head}]" if head else "## Top level", "", " ".join(text.split()), ""]
            lines += _kinds() if head == "source" else []
        lines += [f"### `{key.name}`", "", key.meaning, ""]
        lines += [f"- Only for kinds: {', '.join(f'`{kind}`' for kind in key.kinds)}"] * bool(key.kinds)
        lines += [f"- Type: {key.type}", f"- Default: {key.default}", f"- {key.keys}", ""]
    return "\n".join(lines)


def _kinds() -> list[str]:
    """A table of the kinds of sources: what each is, and which keys only it and some others have."""
    lines = ["A key of another kind is refused.", "", "| kind | photos from | its own keys |", "|---|---|---|"]
    for kind in SOURCES:
        own = [key.name.removeprefix("source.") for key in _keys_of_kinds() if kind in key.kinds]
        text = _cell(" ".join((SOURCES[kind].settings.__doc__ or "").split()))
        lines.append(f"| `{kind}` | {text} | {', '.join(f'[`{name}`](#source{name})' for name in own)} |")
    return [*lines, ""]


def _type(kind: Any, metadata: Any = ()) -> str:
    """A type in words, with its bounds."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is UnionType:
        return " or ".join(map(_type, get_args(kind)))
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return f"list of {', '.join(f'`{part}`' for part in get_args(inner))}" if get_args(inner) else "list of texts"
    words = {bool: "`true` or `false`", int: "whole number", float: "number", str: "text", SecretStr: "text, a secret"}
    bounds = {
        word: getattr(part, name)
        for part in metadata
        for name, word in (("ge", "from"), ("gt", "above"), ("le", "to"))
        if getattr(part, name, None) is not None
    }
    return " ".join([words[kind], *(f"{word} {value:,}" for word, value in bounds.items())])


def _toml(value: Any) -> str:
    """A default as it would be written in the file."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def commands_page() -> str:
    """A section per command: what it does, its usage, its arguments."""
    lines = ["# Command line", "", "| command | does |", "|---|---|"]
    lines += [f"| [`{parser.prog}`](#{toc_id(parser.prog)}) | {_cell(text)} |" for parser, text in commands() if text]
    lines.append("")
    for parser, text in commands():
        lines += [f"## {parser.prog}", "", parser.description or f"{text[:1].upper()}{text[1:]}.", ""]
        if "\n" in (parser.description or ""):
            lines[-2] = f"```text\n{parser.description}\n```"
        usage = argparse.HelpFormatter(parser.prog, width=72)
        usage.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
        lines += ["```text", usage.format_help().rstrip(), "```", ""]
        rows = [f"| {_names(action)} | {_cell(_help(action))} |" for action in arguments(parser)]
        lines += ["| argument | meaning |", "|---|---|", *rows, ""] * bool(rows)
        if parser.epilog:
            lines += ["```text", parser.epilog.rstrip(), "```", ""]
    return "\n".join(lines)


def commands(parser: argparse.ArgumentParser | None = None, text: str = "") -> Iterator[tuple[Any, str]]:
    """Every command's parser and the line that the list of commands has on it."""
    parser = parser or _parser()
    yield parser, text
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, child in action.choices.items():
                yield from commands(child, told.get(name, ""))


def arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """A command's own arguments."""
    left_out = (argparse._HelpAction, argparse._SubParsersAction)
    return [action for action in parser._actions if not isinstance(action, left_out)]


def _names(action: argparse.Action) -> str:
    value = [] if action.nargs == 0 else [f"`{action.metavar or action.dest.upper()}`"]
    return ", ".join(" ".join([f"`{name}`", *value]) for name in action.option_strings) or value[0]


def _help(action: argparse.Action) -> str:
    text = (action.help or "") % {"default": action.default}
    choices = f"; one of {', '.join(map(str, action.choices))}" if action.choices else ""
    has_default = action.default not in (None, "", [], False) and "default" not in text
    default = f" (default: {action.default})" if has_default and action.default != argparse.SUPPRESS else ""
    return text + choices + default + (" (required)" if action.required and action.option_strings else "")


def tables_page() -> str:
    """A section per table, a row per column; two columns wide, for phones."""
    lines = ["# Tables", "", "Accuracies are fractions in [0, 1], drops in [-1, 1]. Every file names its table and the"]
    lines += ["version of its schema in its Parquet metadata.", ""]
    for name, schema in sorted(tables().items()):
        lines += [f"## {name}", "", f"One row is {schema.row}. Rows are sorted by "]
        lines[-1] += f"{', '.join(f'`{part}`' for part in schema.key)}."
        lines += ["", "| column | meaning |", "|---|---|"]
        for column in schema.columns:
            kind = str(column.type).replace("element: ", "").replace("item: ", "").replace(str(EXAMPLE_DIM), "dim")
            null = " or null" if column.nullable else ""
            lines.append(f"| `{column.name}`<br>{kind}{null} | {_cell(column.doc)} |")
        lines.append("")
    return "\n".join(lines)


def tables() -> dict[str, TableSchema]:
    """Every table schema of the package by its name; bundled photos' columns are those of `common` and `counter`."""
    found: dict[str, TableSchema] = {}
    for path in sorted(PACKAGE.rglob("schemas.py")):
        name = ".".join(("counterset", *path.relative_to(PACKAGE).with_suffix("").parts))
        for value in list(vars(importlib.import_module(name)).values()):
            if inspect.isfunction(value) and value.__annotations__.get("return") == "TableSchema":
                schemas = [value(*arguments) for arguments in _examples(value)]
            else:
                schemas = [value] if isinstance(value, TableSchema) else []
            found |= {schema.name: schema for schema in schemas}
    return found


def _examples(make: Any) -> list[tuple[Any, ...]]:
    parameters = inspect.signature(make).parameters
    if all(parameter.default is not inspect.Parameter.empty for parameter in parameters.values()):
        return [()]
    return [("common", True), ("counter", True)] if "split" in parameters else [(EXAMPLE_DIM,)]


def python_page() -> str:
    """Each public name with its docstring."""
    lines = ["# Python", "", "What `import counterset` offers; anything else may change without notice.", ""]
    for name in counterset.__all__:
        thing = getattr(counterset, name)
        if inspect.ismodule(thing):
            lines += [f"::: {thing.__name__}", ""]
        elif hasattr(thing, "__qualname__"):
            lines += [f"::: {thing.__module__}.{thing.__qualname__}"]
            lines += ["    options:", f"      heading: counterset.{name}", f"      toc_label: {name}", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
