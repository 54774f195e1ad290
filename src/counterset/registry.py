"""Things by name: one file per thing in a package of ours, and more from packages that are installed beside it.

A module of the folder is a thing's file: its name is the thing's, and the attribute that the registry asks for is the
thing. A package from outside adds one by an entry point of the registry's group, and needs no checkout:

    [project.entry-points."counterset.exports"]
    toy = "toy_package:export"

Nothing is imported before it is asked for by name.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterset.errors import ConfigError, ExtensionError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class Registry(Mapping[str, Any]):
    """A mapping from names to things, each imported when it is first asked for.

    Attributes:
        group: of entry points, e.g. `counterset.exports`.
        package: whose modules are the things that come with counterset.
        attribute: the name of the thing within its module.
        what: one thing in a user's words, e.g. "export layout".
    """

    def __init__(self, group: str, package: str, attribute: str, what: str) -> None:
        self.group = group
        self.package = package
        self.attribute = attribute
        self.what = what

    def __iter__(self) -> Iterator[str]:
        """The names, those that come with counterset first."""
        yield from dict.fromkeys((*self.own, *sorted(self._entry_points)))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._entry_points

    def __getitem__(self, name: str) -> Any:
        """The thing of a name.

        Raises:
            ConfigError: there is none.
            ExtensionError: it comes from a package that cannot be imported, or from two packages.
        """
        self.check(name)
        if name in self.own:
            return getattr(importlib.import_module(f"{self.package}.{name}"), self.attribute)
        (entry_point,) = self._entry_points[name]
        try:
            return entry_point.load()
        except Exception as error:  # another's module may fail in any way while it is imported
            raise ExtensionError(
                f"the {self.what} {name!r} of {_package(entry_point)} cannot be loaded "
                f"({type(error).__name__}: {error}); update or uninstall that package"
            ) from error

    def check(self, name: str) -> None:
        """See that one thing has this name, without importing it.

        Raises:
            ConfigError: none has.
            ExtensionError: more than one has.
        """
        if name not in self:
            near = difflib.get_close_matches(name, self, n=1)
            meant = f"did you mean {near[0]!r}? The choices are" if near else "use one of"
            raise ConfigError(f"unknown {self.what} {name!r}; {meant} {', '.join(self)}")
        providers = [_package(entry_point) for entry_point in self._entry_points.get(name, [])]
        if name in self.own:
            providers.append("counterset")
        if len(providers) > 1:
            raise ExtensionError(
                f"the {self.what} {name!r} comes from {' and '.join(providers)}; uninstall all but one of them"
            )

    def summary(self, name: str) -> str:
        """One line on a thing, read and not imported: the first of its file, or the package that it comes from."""
        if name not in self.own:
            return f"of {_package(self._entry_points[name][0])}"
        spec = importlib.util.find_spec(f"{self.package}.{name}")
        source = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

    def version(self, name: str) -> list[str]:
        """Name and version of the package that a thing comes from; empty for what comes with counterset.

        For keys: what comes with counterset is covered by the revisions of its stages.
        """
        self.check(name)
        if name in self.own:
            return []
        distribution = self._entry_points[name][0].dist
        return [distribution.name, distribution.version] if distribution else []

    @functools.cached_property
    def own(self) -> tuple[str, ...]:
        """The names of what comes with counterset, by alphabet."""
        spec = importlib.util.find_spec(self.package)
        places = spec.submodule_search_locations if spec else None
        return tuple(sorted(module.name for module in pkgutil.iter_modules(places)))

    @functools.cached_property
    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        """What installed packages add, by name."""
        from importlib.metadata import entry_points  # it takes as long as all of `import counterset`

        found: dict[str, list[EntryPoint]] = {}
        for entry_point in entry_points(group=self.group):
            found.setdefault(entry_point.name, []).append(entry_point)
        return found


def _package(entry_point: EntryPoint) -> str:
    return f"{entry_point.dist.name} {entry_point.dist.version}" if entry_point.dist else "an unnamed package"
