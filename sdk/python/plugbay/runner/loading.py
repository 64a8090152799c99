"""From the files of a package to an instance of its class and the functions that can be called."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Callable

from plugbay.plugin import OFFERED
from plugbay.runner.chat import METHODS, PROMISED, adapt

COMMAND_HANDLER = "on_command"
# A caller must not run these: they belong to the service.
LIFECYCLE = ("initialize", "cleanup", "health_check", "configure")


class LoadError(Exception):
    """The package lacks something. Its text is for the author."""


@dataclass(frozen=True)
class Source:
    """What to load: the package folder and what plugin.yaml says."""

    root: str
    main: str
    class_name: str | None = None
    hooks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    chat: str | None = None

    def load(self) -> Entry:
        """Imports `main` and finds the class."""
        path = os.path.join(self.root, self.main)
        if not os.path.isfile(path):
            raise LoadError(f"`{self.main}` (`main` in plugin.yaml) is not in the package")
        # Packages that came along, then the file's own folder as Python does it, then the package folder.
        for folder in (self.root, os.path.dirname(path), os.path.join(self.root, "vendor")):
            if folder in sys.path:
                sys.path.remove(folder)
            if os.path.isdir(folder):
                sys.path.insert(0, folder)
        module = _import(path, self.main)
        plugin = find_class(module, self.main, self.class_name, METHODS.get(self.chat or "", ()))
        return Entry(plugin, module, self.hooks, self.commands, self.chat)


@dataclass(frozen=True)
class Entry:
    """The class of a plugin, and the module whose functions may be handlers too."""

    plugin: type
    module: ModuleType | None = None
    hooks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    chat: str | None = None

    def create(self, config: dict[str, Any], host: Any, log: Any) -> Any:
        """An instance, which has `host` and `log` before `__init__` runs."""
        cls: Any = self.plugin
        own_init = cls.__init__ is not object.__init__
        try:
            instance = cls.__new__(cls)
        except TypeError:
            # Its own `__new__` wants the configuration.
            instance = cls.__new__(cls, config)
        for name, value in (("host", host), ("log", log)):
            try:
                setattr(instance, name, value)
            except AttributeError:
                # Slots, or a property of that name: the class has something else in mind.
                pass
        if own_init:
            if _takes_argument(instance.__init__):
                instance.__init__(config)
            else:
                instance.__init__()
        return instance

    def functions(self, instance: Any) -> dict[str, Callable[..., Any]]:
        """What can be called, by name: `execute`, handlers, and methods that were offered."""
        found: dict[str, Callable[..., Any]] = {}
        if self.module is not None:
            for name, value in vars(self.module).items():
                if name.startswith("on_") and callable(value) and not isinstance(value, type):
                    found[name] = value
        for name in dir(self.plugin):
            if name.startswith("_") or name in LIFECYCLE:
                continue
            value = getattr(self.plugin, name)
            if callable(value) and (name == "execute" or name.startswith("on_") or getattr(value, OFFERED, False)):
                found[name] = getattr(instance, name)
        for name in METHODS.get(self.chat or "", ()):
            if callable(getattr(self.plugin, name, None)):
                found[name] = adapt(name, getattr(instance, name))
        self._check(found)
        return found

    def _check(self, found: dict[str, Callable[..., Any]]) -> None:
        main = self.plugin.__module__
        for hook in self.hooks:
            if hook not in found:
                raise LoadError(f"plugin.yaml declares the hook `{hook}`, but `{main}` has no such function or method")
        if self.commands and COMMAND_HANDLER not in found:
            listed = ", ".join(f"`{command}`" for command in self.commands)
            raise LoadError(f"plugin.yaml declares {listed}, but `{main}` has no function or method `on_command`")
        if self.chat is not None:
            self._check_chat(found, self.chat)

    def _check_chat(self, found: dict[str, Callable[..., Any]], kind: str) -> None:
        where = f"plugin.yaml says `chat.kind: {kind}`, but `{self.plugin.__name__}` has"
        for name in PROMISED.get(kind, ()):
            if name not in found:
                raise LoadError(f"{where} no method `{name}`")
        if not any(name in found for name in METHODS.get(kind, ())):
            listed = " nor ".join(f"`{name}`" for name in METHODS.get(kind, ()))
            raise LoadError(f"{where} neither {listed}")


def find_class(module: ModuleType, main: str, name: str | None, others: tuple[str, ...] = ()) -> type:
    """The class by its name, or the only one the module defines that has `execute` or one of `others`."""
    if name is not None:
        found = getattr(module, name, None)
        if not isinstance(found, type):
            raise LoadError(f"`{main}` has no class `{name}` (`class` in plugin.yaml)")
        return found
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and any(callable(getattr(value, method, None)) for method in ("execute", *others))
    ]
    if len(classes) == 1:
        return classes[0]
    if not classes:
        wanted = " or ".join(f"`{method}`" for method in (others or ("execute",)))
        raise LoadError(f"`{main}` defines no class with a method {wanted}")
    listed = ", ".join(sorted(f"`{cls.__name__}`" for cls in classes))
    raise LoadError(f"`{main}` defines several classes with `execute`: {listed}; say which by `class` in plugin.yaml")


def _import(path: str, main: str) -> ModuleType:
    # By its path and not by its name, which something in vendor/ may have too.
    name = ".".join(os.path.splitext(os.path.normpath(main))[0].split(os.sep))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"`{main}` is not a Python file")
    parent = name.rpartition(".")[0]
    if parent:
        # Lets the file use relative imports.
        importlib.import_module(parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _takes_argument(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind({})
    except TypeError:
        return False
    except ValueError:
        # No signature to be had, as for some classes written in C.
        pass
    return True
