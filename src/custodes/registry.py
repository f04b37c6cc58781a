"""Plug-ins by name: one lookup for algorithms, rewards, stages and whatever else a person may add.

A plug-in is a whole file. One of ours stands in its family's folder, and its name is the file's name: listing reads the
folder, asking imports that one file. One of your own is ``FILE.py:Name``; an installed package offers some as entry points
of the group ``custodes.<family>``. A new family is one line at the end of this file.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

from custodes.errors import InputError

T = TypeVar("T")
X = TypeVar("X")
FAILURES = (Exception, SystemExit)
"""What a person's own code may raise where we call it: sys.exit() there must not end our run without a word."""
OWN_FILE = "custodes_plugin_"
"""How the name of a module that a person's file makes begins."""


class Registry(Generic[T]):
    """All plug-ins of one sort, by name; also the decorator that makes something one of them.

    Args:
        name: what one of them is called in sentences, and in the group of entry points, ``custodes.<name>``.
        package: the package whose files are the built-in ones, e.g. ``custodes.policy.algorithms``.
        base: ``module:Class`` that every plug-in is derived from; "" where anything will do.
        dashes: whether names are shown with dashes, ``tool-flattery`` for the file ``tool_flattery.py``.
        tables: whether a built-in file holds many plug-ins (:meth:`several`) and is imported for their names.
    """

    def __init__(
        self, name: str, package: str = "", base: str = "", *, dashes: bool = False, tables: bool = False
    ) -> None:
        self.name, self.package, self.base, self.dashes, self.tables = name, package, base, dashes, tables
        self._found: dict[str, T] = {}
        self._of_files: dict[str, list[T]] = {}

    def __call__(self, plugin: X) -> X:
        """Decorator: known from now on under its file's name in the family's folder, elsewhere under its own name.

        Raises InputError where a built-in one has that name.
        """
        module, thing = plugin.__module__, cast(Any, plugin)
        if module.startswith(OWN_FILE):
            self._of_files.setdefault(module, []).append(thing)
        elif module.rpartition(".")[0] == self.package != "":
            self._found[module.rpartition(".")[2]] = thing
        elif (name := _spelled(thing.__name__)) in self._files():
            raise InputError(f"{self.name} {thing.__name__} is called as a built-in one is; give it another name.")
        else:
            self._found[name] = thing
        return plugin

    def several(self, plugins: Mapping[str, T]) -> None:
        """The plug-ins of a file that holds many, by name; for families that are made with ``tables``."""
        self._found |= {_spelled(name): plugin for name, plugin in plugins.items()}

    def names(self) -> list[str]:
        """The built-in ones, those of installed packages, and those that a decorator made known; no file is imported."""
        names = sorted({*self._files(), *self._offered(), *self._found})
        return [name.replace("_", "-") for name in names] if self.dashes else names

    def __contains__(self, name: str) -> bool:
        return _spelled(name) in map(_spelled, self.names())

    def find(self, name: str) -> T:
        """The plug-in of this name, with ``-`` for ``_`` as one likes; or the one that ``FILE.py:Name`` names.

        ``FILE.py`` alone is enough where the file decorates one thing. Raises InputError with the nearest name.
        """
        if name.endswith(".py") or ".py:" in name:
            return self._checked(name, self._of_file(name.removeprefix("py:")))
        plain = _spelled(name)
        if plain not in self._found and plain in self._files():
            importlib.import_module(f"{self.package}.{plain}")
        elif plain not in self._found and plain in (offered := self._offered()):
            try:
                self._found[plain] = offered[plain].load()
            except FAILURES as error:  # of whoever wrote it
                raise InputError(f"{self.name} {name}, of an installed package: {_what(error)}.") from None
        if plain not in self._found:
            raise InputError(
                f"there is no {self.name} {name!r}; did you mean {nearest(plain, self.names())!r}? "
                f"There are {', '.join(self.names())}; one of your own is FILE.py:Name."
            )
        return self._checked(name, self._found[plain])

    def make(self, name: str, **options: Any) -> Any:
        """An instance of a plug-in that is a dataclass, with these options. Raises InputError for one that it does not have."""
        plugin: Any = self.find(name)
        known = [f.name for f in fields(plugin) if f.init]
        for option in options:
            if option not in known:
                raise InputError(self.lacks(name, option))
        return plugin(**options)

    def lacks(self, name: str, option: str) -> str:
        """A sentence that says which plug-ins, dataclasses all, have an ``option`` that ``name`` does not have."""
        known = [f.name for f in fields(cast(Any, self.find(name))) if f.init]
        its_own = f"it has {', '.join(known)}" if known else "it has none"
        return f"{self.name} {name} has no option {option!r}; {self.owners(option) or its_own}."

    def owners(self, option: str) -> str:
        """``ppo and grpo have it``: the plug-ins, dataclasses all, that have this option; "" where none has."""
        owners = [n for n in self.names() if option in getattr(self.find(n), "__dataclass_fields__", ())]
        names = " and ".join([", ".join(owners[:-1]), owners[-1]] if owners[1:] else owners)
        return f"{names} {'have' if owners[1:] else 'has'} it" if owners else ""

    def name_of(self, plugin: type) -> str:
        """The name under which :meth:`find` finds a plug-in: its file's, ``FILE.py:Name``, or its own."""
        module = sys.modules.get(plugin.__module__)
        if plugin.__module__.startswith(OWN_FILE):
            return f"{getattr(module, '__file__', '')}:{plugin.__qualname__}"
        return next((name for name, known in self._found.items() if known is plugin), plugin.__qualname__)

    def _files(self) -> list[str]:
        folder = Path(__file__).parent.joinpath(*self.package.split(".")[1:])
        files = sorted(file.stem for file in folder.glob("[!_]*.py")) if self.package else []
        if not self.tables:
            return files
        for file in files:
            importlib.import_module(f"{self.package}.{file}")
        return []

    def _offered(self) -> dict[str, metadata.EntryPoint]:
        return {_spelled(point.name): point for point in _entry_points(f"custodes.{self.name}")}

    def _of_file(self, spec: str) -> Any:
        file, _, name = spec.rpartition(".py")
        path, name = Path(file + ".py"), name.removeprefix(":")
        module = run_file(path, self.name)
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
        if name and not hasattr(module, name):
            raise InputError(
                f"{self.name} {path} has no {name!r}; write {path}:{nearest(name, own) if own else 'Name'}."
            )
        if name:
            return getattr(module, name)
        marked: list[Any] = self._of_files.get(module.__name__, [])
        if len(marked) != 1:
            names = [plugin.__name__ for plugin in marked] or own or ["Name"]
            raise InputError(f"{self.name} {path}: say which one; write {' or '.join(f'{path}:{n}' for n in names)}.")
        return marked[0]

    def _checked(self, name: str, plugin: Any) -> T:
        if self.base:
            module, _, base = self.base.partition(":")
            if not (isinstance(plugin, type) and issubclass(plugin, getattr(importlib.import_module(module), base))):
                raise InputError(f"{self.name} {name} is no {base}; write a class derived from {module}.{base}.")
        return plugin  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Chosen:
    """The annotation of a field whose value is a plug-in: an instance, or a name.

    On the command line it is a flag for the name. The plug-in's own fields are flags beside it, where it is a dataclass.
    """

    family: Registry[Any]
    by_name: bool = False
    """Whether the value stays a name: plug-ins of this family have no options."""


@dataclass(frozen=True)
class OptionsOf:
    """What the field of a configuration is annotated with that holds the own options of plug-ins which ``field`` names.

    The field is a mapping. On the command line each option is a flag. ``kinds`` gives the plug-ins' classes for the value of
    ``field``.
    """

    family: Registry[Any]
    field: str
    kinds: Callable[[str], Sequence[type]]


def nearest(name: str, names: Iterable[str]) -> str:
    """The one of ``names``, of which there must be some, that is spelled most like ``name``."""
    return difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.0)[0]


def run_file(path: Path, what: str) -> ModuleType:
    """The module that a person's file defines. It runs in this process, once as long as it does not change.

    Raises InputError with the file and the line where it fails.
    """
    try:
        return _run(path.resolve(), path.stat().st_mtime_ns)
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read ({error.strerror or error}).") from None
    except FAILURES as error:  # of whoever wrote it
        raise InputError(f"{what} {place_in(path, error)}: {_what(error)}.") from None


@contextmanager
def own_code(what: str) -> Iterator[None]:
    """Within the block a person's own code runs, which ``what`` names as ``--option FILE.py:Name``.

    Raises InputError with the file and the line where it fails.
    """
    try:
        yield
    except InputError:
        raise
    except FAILURES as error:
        path = Path(what.partition(" ")[2].removeprefix("py:").rpartition(".py")[0] + ".py")
        raise InputError(f"{what} failed at {place_in(path, error)} ({_what(error)}).") from error


def place_in(path: Path, error: BaseException) -> str:
    """``FILE.py, line 12``: where an error passed through a person's file last; the file alone where it did not."""
    if isinstance(error, SyntaxError) and error.filename == str(path.resolve()):
        return f"{path}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.resolve()]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def _what(error: BaseException) -> str:
    """The error on one line, without a full stop."""
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if not isinstance(error, InputError) else text


@cache
def _run(path: Path, changed: int) -> ModuleType:
    name = f"{OWN_FILE}{path.stem}_{hashlib.sha256(f'{path} {changed}'.encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@cache
def _entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    return tuple(metadata.entry_points(group=group))


def _spelled(name: str) -> str:
    return name.replace("-", "_").lower()


algorithm: Registry[Any] = Registry("algorithm", "custodes.policy.algorithms", "custodes.policy.algorithm:Algorithm")
alarm: Registry[Any] = Registry("alarm", "custodes.policy.alarms", "custodes.policy.alarm:Alarm")
method: Registry[Any] = Registry("method", "custodes.policy.methods", "custodes.policy.tuning:TuneMethod")
rater: Registry[Any] = Registry("rater", "custodes.critic.raters")
scorer: Registry[Any] = Registry("scorer", "custodes.critic.scorers")
reward: Registry[Any] = Registry("reward", "custodes.reward.functions")
objective: Registry[Any] = Registry(
    "objective", "custodes.reward.objectives", "custodes.reward.objective:RewardObjective"
)
probe: Registry[Any] = Registry("probe", "custodes.audit.probes", "custodes.audit.probe:Probe")
attack: Registry[Any] = Registry("attack", "custodes.audit.attacks", "custodes.audit.attack:Attack", dashes=True)
defence: Registry[Any] = Registry("defence", "custodes.audit.defences", "custodes.audit.defence:Defence", dashes=True)
section: Registry[Any] = Registry("section", "custodes.audit.sections", "custodes.audit.record:RunSection")
disclosure: Registry[Any] = Registry(
    "disclosure", "custodes.audit.disclosure.groups", "custodes.audit.disclosure.lines:DisclosureGroup"
)
kind: Registry[Any] = Registry("kind", "custodes.feedback.kinds", "custodes.feedback.questions:Question")
widget: Registry[Any] = Registry(
    "widget", "custodes.web.screens.kinds", "custodes.web.screens.question_widget:QuestionWidget"
)
stage: Registry[Any] = Registry("stage", "custodes.gaming.stages", "custodes.gaming.variants:Stage", dashes=True)
monitor: Registry[Any] = Registry(
    "monitor", "custodes.gaming.monitors", "custodes.gaming.monitoring:Monitor", dashes=True
)
script: Registry[Any] = Registry("script", "custodes.gaming.scripted", dashes=True, tables=True)
form: Registry[Any] = Registry("form", "custodes.feedback.forms", "custodes.feedback.form:DatasetForm")
aggregator: Registry[Any] = Registry("aggregator", "custodes.feedback.aggregators", dashes=True)
platform: Registry[Any] = Registry(
    "platform", "custodes.feedback.platforms", "custodes.feedback.platform:Platform", dashes=True
)
overseer: Registry[Any] = Registry("overseer", "custodes.web.overseers", "custodes.feedback.oversight:Overseer")
judge: Registry[Any] = Registry("judge", "custodes.web.judges")
