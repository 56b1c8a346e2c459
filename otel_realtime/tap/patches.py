"""Replaces attributes of other libraries' objects, and restores them.

``Patches`` replaces attributes of one object. ``Instrumentation`` replaces methods of classes while an
observer is installed, once the app has imported their module; it imports no library itself.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import wrapt

from otel_realtime import diagnostics
from otel_realtime.diagnostics import walled
from otel_realtime.tap.interface import Observer

_MISSING = object()


class Patches:
    """Attributes replaced on one object."""

    __slots__ = ("_saved", "_target")

    def __init__(self, target: object) -> None:
        self._target = target
        self._saved: list[tuple[str, object, object]] = []

    def put(self, name: str, new: object) -> None:
        """Replace an attribute of the object itself, whatever its class defines."""
        self._saved.append((name, vars(self._target).get(name, _MISSING), new))
        setattr(self._target, name, new)

    def undo(self) -> None:
        """Restore the original attributes, except where other code has wrapped the replacement since."""
        while self._saved:
            name, old, new = self._saved.pop()
            if vars(self._target).get(name) is not new:
                continue
            if old is _MISSING:
                delattr(self._target, name)
            else:
                setattr(self._target, name, old)


@dataclass(frozen=True, slots=True)
class Method:
    """A method or function to replace.

    Attributes:
        module: Module that defines the class or function.
        owner: Name of the class; empty for a function of the module.
        name: Name of the method or function.
        wrap: Returns the replacement for the original.
        missed: For the log, what is not traced if the installed version lacks the method; empty if
            that is expected.
    """

    module: str
    owner: str
    name: str
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
    missed: str = ""


class Instrumentation:
    """Methods of one library that are replaced while an observer is installed.

    Args:
        methods: What to replace. A class or method that the installed version does not have is
            skipped.

    Attributes:
        observer: The observer to notify; ``None`` while nothing is installed.
    """

    def __init__(self, *methods: Method) -> None:
        self.observer: Observer | None = None
        self._methods = methods
        self._patches: dict[Method, Patches] = {}
        self._hooked: set[Method] = set()

    def install(self, observer: Observer) -> None:
        """Replace the methods now, or as soon as the app has imported their module.

        A second call only changes the observer.

        Args:
            observer: The observer to notify from now on.
        """
        self.observer = observer
        for method in self._methods:
            module = sys.modules.get(method.module)
            if module is not None:
                self._replace(method, module)
            elif method not in self._hooked:
                # An import hook cannot be removed, but without an observer it does nothing.
                self._hooked.add(method)
                wrapt.register_post_import_hook(partial(self._replace, method), method.module)

    def uninstall(self) -> None:
        """Put the original methods back."""
        self.observer = None
        while self._patches:
            self._patches.popitem()[1].undo()

    def presence(self) -> list[dict[str, object]]:
        """Import the modules, and return for each method whether it exists, as JSON values.

        This inspects what is installed; ``install``, by contrast, waits for the app's own imports.

        Raises:
            ImportError: a module that is installed cannot be imported.
        """
        found: list[dict[str, object]] = []
        for method in self._methods:
            try:
                module = importlib.import_module(method.module)
            except ModuleNotFoundError as error:
                # The library has another version, or lacks the extra that this module needs.
                module, there = None, False
                if error.name is None or not method.module.startswith(error.name):
                    raise
            if module is not None:
                owner = getattr(module, method.owner, None) if method.owner else module
                there = callable(getattr(owner, method.name, None))
            name = ".".join(filter(None, (method.module, method.owner, method.name)))
            found.append({"name": name, "there": there, "missed": method.missed})
        return found

    @walled
    def _replace(self, method: Method, module: object) -> None:
        owner = getattr(module, method.owner, None) if method.owner else module
        original = getattr(owner, method.name, None)
        if self.observer is None or method in self._patches:
            return
        # An app's tests may have put a stand-in for the library into sys.modules.
        if callable(original) and (isinstance(owner, type) or owner is module):
            patches = Patches(owner)
            patches.put(method.name, method.wrap(original))
            self._patches[method] = patches
        elif method.missed:
            diagnostics.warn_once(
                ("changed", method.module, method.name),
                "%s has no %s that we know: %s",
                method.module,
                ".".join(filter(None, (method.owner, method.name))),
                method.missed,
            )
