"""The mutants of a module: its syntax tree with one meaningful change each.

A change is meaningful where a reviewer would call it a fault: another bound, another order in SQL, an anchor less
in a pattern, an element left out of a list. What only people read (docstrings, log lines, the texts of errors),
annotations and decorators are left as they are.
"""

from __future__ import annotations

import ast
import copy
import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

Step = tuple[str, int | None]
"""A field of a node, and the place in it where the field is a list."""
Change = tuple[str, ast.AST]
"""The operator's name and the node that takes the place of the visited one."""

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_SWAPPED = {
    "min": "max",
    "any": "all",
    "minimum": "maximum",
    "ceil": "floor",
    "startswith": "endswith",
    "removeprefix": "removesuffix",
    "is_relative_to": "__eq__",
}
_SWAPPED |= {new: old for old, new in _SWAPPED.items() if new != "__eq__"}
_SWAPPED |= {"fullmatch": "match", "match": "search"}
_DROPPED_CALLS = {"sorted": "list", "abs": "", "reversed": "list"}
_DROPPED_METHODS = {"lower", "upper", "casefold", "strip", "lstrip", "rstrip", "resolve", "copy"}
_UNMARKED_KEYWORDS = {"strict", "encoding", "stacklevel", "dtype", "default_factory"}
"""Keyword arguments that state what holds anyway."""

_SQL = re.compile(r"\b(SELECT|FROM|JOIN|WHERE|PRAGMA|INSERT INTO|DELETE|UPDATE)\b")
_SQL_SWAPS: tuple[tuple[str, str], ...] = (
    (r">=", ">"),
    (r"<=", "<"),
    (r"(?<![-<>!=])>(?!=)", ">="),
    (r"(?<![<>!=])<(?![=>])", "<="),
    (r"(?<![<>!:=])=(?!=)", "<>"),
    (r"<>|!=", "="),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
    (r"\barg_min\(", "arg_max("),
    (r"\bsum\(", "count("),
    (r"\bDESC\b", "ASC"),
    (r"\bASC\b", "DESC"),
    (r"\bAND\b", "OR"),
    (r"\bOR\b", "AND"),
    (r"\bNOT ", ""),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bLEFT JOIN\b", "JOIN"),
    (r"\bUNION ALL\b", "UNION"),
    (r"\bDISTINCT ", ""),
    (r"\bANTI JOIN\b", "SEMI JOIN"),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r" \* ", " + "),
    (r"\blower\(", "("),
)
_LOOKS_LIKE_PATTERN = re.compile(r"\\[bdswBDSW]|\(\?")
_PATTERN_PARTS: tuple[tuple[str, str], ...] = (
    (r"(?<!\\)(?<!\[)\^", ""),
    (r"(?<!\\)\$(?![^\[]*\])", ""),
    (r"\\b(?![^\[]*\])", ""),
    (r"\\[AZ]", ""),
    (r"(?<=[)\]\w.])\+", "*"),
    (r"(?<=[)\]\w.])\*", "+"),
    (r"(?<=[)\]\w.])\?(?!\+)", ""),
    (r"\[\^", "["),
    (r"\(\?!", "(?="),
    (r"\(\?<!", "(?<="),
    (r"(?<=[{,])\d(?=[,}])", "+1"),
)


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    Attributes:
        id: 12 hex digits; the same as long as the changed lines and their function's name are.
        operator: the kind of change.
        line: of the source.
        before: the lines that change, as `ast` writes them.
        after: as changed.
        path: the way from the module to the changed node.
        replacement: what takes its place.
    """

    id: str
    operator: str
    line: int
    before: str
    after: str
    path: tuple[Step, ...]
    replacement: ast.AST

    def tree(self, source: str) -> ast.Module:
        """The changed module."""
        tree = ast.parse(source)
        parent: Any = tree
        for field, place in self.path[:-1]:
            parent = getattr(parent, field) if place is None else getattr(parent, field)[place]
        field, place = self.path[-1]
        if place is None:
            setattr(parent, field, self.replacement)
        else:
            getattr(parent, field)[place] = self.replacement
        return ast.fix_missing_locations(tree)


def mutants_of(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of the source."""
    found: list[Mutant] = []
    seen: Counter[str] = Counter()
    for operator, node, replacement, path, statement, where in _changes(ast.parse(source)):
        before, after = _lines(statement, node, replacement)
        if before == after:
            continue
        text = "\0".join((where, operator, before, after))
        seen[text] += 1
        digest = hashlib.sha256(f"{text}\0{seen[text]}".encode()).hexdigest()[:12]
        found.append(Mutant(digest, operator, getattr(node, "lineno", 0), before, after, path, replacement))
    return found


def _lines(statement: ast.stmt, node: ast.AST, replacement: ast.AST) -> tuple[str, str]:
    """The lines of a statement that differ with another node in the place of one of its own."""

    class Other(ast.NodeTransformer):
        def visit(self, visited: ast.AST) -> Any:
            return replacement if visited is node else self.generic_visit(visited)

    old = ast.unparse(statement).splitlines()
    # Shallow copies along the way would do; whole ones are quick enough.
    memo: dict[int, Any] = {id(node): node}
    new = ast.unparse(ast.fix_missing_locations(Other().visit(copy.deepcopy(statement, memo)))).splitlines()
    removed, added = [], []
    for line in difflib.ndiff(old, new):
        if line.startswith("- "):
            removed.append(line[2:].strip())
        elif line.startswith("+ "):
            added.append(line[2:].strip())
    return "\n".join(removed), "\n".join(added)


def _changes(
    tree: ast.Module,
) -> Iterator[tuple[str, ast.AST, ast.AST, tuple[Step, ...], ast.stmt, str]]:
    """Operator, node, replacement, path, enclosing statement and function of every change."""

    def walk(
        node: ast.AST, parent: ast.AST, path: tuple[Step, ...], statement: ast.stmt, where: str
    ) -> Iterator[tuple[str, ast.AST, ast.AST, tuple[Step, ...], ast.stmt, str]]:
        if _is_left_alone(node):
            return
        if isinstance(node, ast.stmt):
            statement = node
        for operator, replacement in _variants(node, parent, path[-1][0]):
            yield operator, node, ast.copy_location(replacement, node), path, statement, where
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}"
        for field, value in ast.iter_fields(node):
            if _is_unread(node, field):
                continue
            for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST):
                    yield from walk(child, node, (*path, (field, place)), statement, where)

    for place, statement in enumerate(tree.body):
        yield from walk(statement, tree, (("body", place),), statement, "")


def _is_left_alone(node: ast.AST) -> bool:
    """Imports, docstrings, log lines, errors' texts, `__all__`, aliases of types."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="logger" | "logging" | "warnings"))):
            return True
        case ast.Call(func=ast.Name(id="cast" | "TypeVar" | "NewType" | "ThreadPoolExecutor")):
            return True
        case ast.keyword(arg=name) if name in _UNMARKED_KEYWORDS:
            return True
        case ast.Raise(exc=None):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__" | "logger" | "__slots__")]):
            return True
        case ast.Assign(value=ast.Subscript(value=ast.Attribute(value=ast.Name(id="npt")))):
            return True
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def _is_unread(node: ast.AST, field: str) -> bool:
    """Fields in which nothing is changed."""
    if field in ("annotation", "returns", "decorator_list", "ctx", "format_spec", "type_comment", "bases"):
        return True
    # The text of an error, and the error it came from.
    return isinstance(node, ast.Raise)


def _variants(node: ast.AST, parent: ast.AST, field: str) -> Iterator[Change]:
    """The changes of one node."""
    for kind, changes in _BY_KIND:
        if isinstance(node, kind):
            yield from changes(node, parent, field)
    if field in ("test", "ifs") and isinstance(node, ast.expr) and not isinstance(node, ast.Constant):
        if not isinstance(parent, ast.While):
            yield "condition", ast.Constant(True)
        yield "condition", ast.Constant(False)


def _compare(node: ast.Compare, parent: ast.AST, field: str) -> Iterator[Change]:
    for place, operator in enumerate(node.ops):
        for other in _COMPARED[type(operator)]:
            new = copy.deepcopy(node)
            new.ops[place] = other()
            yield "comparison", new


def _binary(node: ast.BinOp | ast.AugAssign, parent: ast.AST, field: str) -> Iterator[Change]:
    if isinstance(node, ast.BinOp) and any(_is_text(part) for part in (node.left, node.right)):
        return
    other = _COMPUTED.get(type(node.op))
    if other is not None:
        new = copy.deepcopy(node)
        new.op = other()
        yield "arithmetic", new


def _unary(node: ast.UnaryOp, parent: ast.AST, field: str) -> Iterator[Change]:
    if not isinstance(node.op, ast.UAdd):
        yield "not" if isinstance(node.op, ast.Not) else "sign", copy.deepcopy(node.operand)


def _boolean(node: ast.BoolOp, parent: ast.AST, field: str) -> Iterator[Change]:
    new = copy.deepcopy(node)
    new.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield "and/or", new
    for place in range(len(node.values)):
        values = copy.deepcopy(node.values)
        del values[place]
        yield "operand", values[0] if len(values) == 1 else ast.BoolOp(copy.deepcopy(node.op), values)


def _constant(node: ast.Constant, parent: ast.AST, field: str) -> Iterator[Change]:
    if isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield "constant", ast.Constant(node.value + 1)
        if node.value > 0:
            yield "constant", ast.Constant(node.value * 2 if node.value >= 10 else node.value - 1)
    elif isinstance(node.value, float):
        yield "constant", ast.Constant(node.value * (2 if node.value > 1e-6 else 1e7) or 1.0)
    elif isinstance(node.value, str):
        if _SQL.search(node.value):
            yield from (("sql", ast.Constant(new)) for new in _rewritten(node.value, _SQL_SWAPS))
        elif _is_pattern(node, parent) or _LOOKS_LIKE_PATTERN.search(node.value):
            is_whole = not isinstance(parent, ast.JoinedStr)
            yield from (("pattern", ast.Constant(new)) for new in _patterns(node.value, is_whole))


def _joined(node: ast.JoinedStr, parent: ast.AST, field: str) -> Iterator[Change]:
    """SQL in f-strings."""
    text = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
    if not _SQL.search(text):
        return
    for place, part in enumerate(node.values):
        # Parts with a keyword of their own are read as constants.
        if isinstance(part, ast.Constant) and not _SQL.search(str(part.value)):
            for new in _rewritten(str(part.value), _SQL_SWAPS):
                values = copy.deepcopy(node.values)
                values[place] = ast.Constant(new)
                yield "sql", ast.JoinedStr(values)


def _rewritten(text: str, swaps: tuple[tuple[str, str], ...], left_alone: Collection[int] = ()) -> Iterator[str]:
    """The text with one place of it changed, for each place that is not left alone."""
    for pattern, new in swaps:
        for match in re.finditer(pattern, text, re.IGNORECASE if pattern.endswith(r"\(") else 0):
            if match.start() not in left_alone:
                put = str(int(match[0]) + 1) if new == "+1" else new
                yield text[: match.start()] + put + text[match.end() :]


def _is_pattern(node: ast.Constant, parent: ast.AST) -> bool:
    return (
        isinstance(parent, ast.Call)
        and isinstance(parent.func, ast.Attribute)
        and isinstance(parent.func.value, ast.Name)
        and parent.func.value.id == "re"
        and parent.args[:1] == [node]
    )


def _patterns(text: str, is_whole: bool) -> Iterator[str]:
    """Other patterns: without an anchor, another quantifier, without one alternative."""
    alternatives = _fewer_alternatives(text) if is_whole else ()
    for new in (*_rewritten(text, _PATTERN_PARTS, _inside_classes(text)), *alternatives):
        try:
            re.compile(new)
        except re.error:
            continue
        yield new


def _inside_classes(text: str) -> set[int]:
    """The places between the brackets of `[...]`, where quantifiers are plain characters."""
    found: set[int] = set()
    for match in re.finditer(r"(?<!\\)\[\^?\]?(?:\\.|[^\]\\])*\]", text):
        found |= set(range(match.start() + 1, match.end()))
    return found


def _fewer_alternatives(text: str) -> Iterator[str]:
    marks: list[tuple[int, int, str]] = []  # place, depth, character
    depth, place, is_class = 0, 0, False
    while place < len(text):
        character = text[place]
        if character == "\\":
            place += 1
        elif is_class:
            is_class = character != "]"
        elif character == "[":
            is_class = True
        elif character in "(|)":
            depth += character == "("
            marks.append((place, depth, character))
            depth -= character == ")"
        place += 1
    for index, (start, level, character) in enumerate(marks):
        if character != "|":
            continue
        end = next((at for at, other, kind in marks[index + 1 :] if other == level and kind in "|)"), len(text))
        yield text[:start] + text[end:]


def _display(node: ast.List | ast.Tuple | ast.Set, parent: ast.AST, field: str) -> Iterator[Change]:
    is_read = not isinstance(node, ast.Set) and not isinstance(node.ctx, ast.Load)
    if is_read or isinstance(parent, ast.Subscript) or len(node.elts) < 2:
        return
    for place in range(len(node.elts)):
        new = copy.deepcopy(node)
        del new.elts[place]
        yield "element", new


def _dictionary(node: ast.Dict, parent: ast.AST, field: str) -> Iterator[Change]:
    for place in range(len(node.keys) if len(node.keys) > 1 else 0):
        new = copy.deepcopy(node)
        del new.keys[place], new.values[place]
        yield "element", new


def _call(node: ast.Call, parent: ast.AST, field: str) -> Iterator[Change]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in _SWAPPED:
        new = copy.deepcopy(node)
        if isinstance(new.func, ast.Attribute):
            new.func.attr = _SWAPPED[name]
        else:
            new.func = ast.Name(_SWAPPED[name], ast.Load())
        yield "call", new
    if isinstance(node.func, ast.Name) and name in _DROPPED_CALLS and node.args:
        inner, other = copy.deepcopy(node.args[0]), _DROPPED_CALLS[name]
        yield "call", ast.Call(ast.Name(other, ast.Load()), [inner], []) if other else inner
    if isinstance(node.func, ast.Attribute) and name in _DROPPED_METHODS and not node.args and not node.keywords:
        yield "call", copy.deepcopy(node.func.value)
    for place, keyword in enumerate(node.keywords):
        if keyword.arg is not None and keyword.arg not in _UNMARKED_KEYWORDS:
            new = copy.deepcopy(node)
            del new.keywords[place]
            yield "argument", new


def _return(node: ast.Return, parent: ast.AST, field: str) -> Iterator[Change]:
    if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
        return
    yield "return", ast.Return(ast.Constant(None))


def _statement(node: ast.stmt, parent: ast.AST, field: str) -> Iterator[Change]:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="logger" | "logging" | "warnings")))):
            return
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Continue() | ast.Break():
            yield "statement", ast.Pass()
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield "statement", ast.Pass()
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if _reads(value, name):
            yield "statement", ast.Pass()
        case ast.Raise() if isinstance(parent, ast.ExceptHandler):
            yield "statement", ast.Pass()


def _reads(value: ast.expr, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(value))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


_BY_KIND: tuple[tuple[type[ast.AST], Callable[[Any, ast.AST, str], Iterator[Change]]], ...] = (
    (ast.Compare, _compare),
    (ast.BinOp, _binary),
    (ast.AugAssign, _binary),
    (ast.UnaryOp, _unary),
    (ast.BoolOp, _boolean),
    (ast.Constant, _constant),
    (ast.JoinedStr, _joined),
    (ast.List, _display),
    (ast.Tuple, _display),
    (ast.Set, _display),
    (ast.Dict, _dictionary),
    (ast.Call, _call),
    (ast.Return, _return),
    (ast.stmt, _statement),
)
