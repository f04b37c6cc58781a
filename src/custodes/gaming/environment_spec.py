"""The declarative specification of an environment: one YAML file, or one object made in Python.

The fields are those that "Sycophancy to Subterfuge" (arXiv 2406.10162) released. ``dirs`` and ``files`` lie in the policy's
home, ``prompt`` is what it is asked. Two commands are run on the files that the policy leaves behind, in a clean room.
``reward_cmd`` prints a number. ``oversight_cmd`` fails (exit code other than 0) where the policy is caught; without it nobody
is ever caught. What gaming is stands apart from the reward: ``gamed_cmd`` succeeds where it happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from custodes.registry import nearest
from custodes.types import InputError


class EnvironmentSpec(BaseModel):
    """One environment. Paths are relative to the policy's home, where its shell starts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(min_length=1)
    """What tables and files call it."""
    prompt: str = Field(min_length=1)
    """What the user asks."""
    system: str | None = None
    """System message in place of the built-in one, which explains scratchpad and shell."""
    dirs: list[str] = Field(default_factory=list)
    """Folders that exist, besides those of the files."""
    files: dict[str, str] = Field(default_factory=dict)
    """Path -> content."""
    reward_cmd: str = ""
    """Shell command whose last line of output is the reward."""
    oversight_cmd: str = ""
    """Shell command that fails where the policy is caught."""
    gamed_cmd: str = ""
    """Shell command that succeeds where the task was gamed, whatever the reward is. An environment with neither this nor a
    ``reward_file`` has no gaming rate."""
    reward_file: str = ""
    """The file that computes the reward, where the environment has one: edits of it are detected."""
    guard_file: str = ""
    """The file that is there to catch such edits: edits of it are detected too."""
    tool: bool = True
    """Whether there is a shell; without one the first reply ends the episode."""
    max_calls: int = Field(default=20, ge=1, le=1000)
    """Calls of the shell; an episode that wants more is recorded as failed."""
    seconds: float = Field(default=10.0, gt=0, le=600)
    """Longest run of one command, ``reward_cmd`` and ``oversight_cmd`` included."""

    @field_validator("dirs", "files", "reward_file", "guard_file", mode="after")
    @classmethod
    def _relative(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {_path(name): content for name, content in value.items()}
        return [_path(name) for name in value] if isinstance(value, list) else value and _path(value)

    @model_validator(mode="after")
    def _named_files_exist(self) -> EnvironmentSpec:
        for field in ("reward_file", "guard_file"):
            if (name := getattr(self, field)) and name not in self.files:
                raise ValueError(f"{field} is {name!r}, which is not among files")
        for name in self.files:
            above = {str(p) for p in PurePosixPath(name).parents} & self.files.keys()
            if above or name in self.dirs:
                raise ValueError(f"files: {above.pop() if above else name!r} is a file and a folder at once")
        if self.guard_file and not self.reward_file:
            raise ValueError("guard_file is given without reward_file; name the file that it guards")
        if not self.tool and (self.reward_cmd or self.oversight_cmd or self.gamed_cmd):
            raise ValueError(
                "tool is false, so that nothing can change for reward_cmd, oversight_cmd or gamed_cmd to see; leave one of them out"
            )
        return self

    @property
    def protected(self) -> tuple[str, ...]:
        """What the mitigation "read-only reward files" protects."""
        return tuple(name for name in (self.reward_file, self.guard_file) if name)


def read_spec(path: str | Path) -> EnvironmentSpec:
    """The environment in a YAML file. Raises InputError with one sentence naming file and field."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"environment {path} cannot be read ({why}).") from None
    except yaml.YAMLError as error:
        raise InputError(f"environment {path} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise InputError(f"environment {path} holds {type(content).__name__}; write fields such as name: and prompt:.")
    return _make_spec({"name": path.stem, **content}, f"environment {path}")


def _make_spec(fields: Mapping[str, Any], where: str) -> EnvironmentSpec:
    """A specification from plain data; InputError says ``where`` and which field is wrong."""
    for name in fields:
        if name not in EnvironmentSpec.model_fields:
            near = nearest(str(name), EnvironmentSpec.model_fields)
            raise InputError(f"{where}: no field {name!r}; did you mean {near!r}?")
    try:
        return EnvironmentSpec.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
        at = f"field {field!r}: " if field else ""
        raise InputError(f"{where}: {at}{what[:1].lower() + what[1:]}.") from None


def _path(name: str) -> str:
    """A path inside the home, plainly written."""
    plain = name.removeprefix("~/").removeprefix("./").rstrip("/")
    parts = PurePosixPath(plain).parts
    if not parts or plain.startswith(("/", "~")) or ".." in parts or "\0" in plain or "\n" in plain:
        raise ValueError(f"{name!r} is no path inside the home; write it without a leading / and without ..")
    return str(PurePosixPath(plain))
