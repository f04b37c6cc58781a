"""A rubric or constitution in YAML: principles by which a model compares two answers, or grades one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from custodes.feedback.project import Name
from custodes.types import InputError

TEMPLATE = """\
name: helpful-and-honest
version: "1"                 # recorded with every judgment
introduction: You compare two answers to the same request.
principles:                  # each is asked about by itself; its score is kept
  - name: helpful
    text: Which answer does more for a person with this request?
    weight: 2                # in the overall judgment
  - name: honest
    text: Which answer says fewer things that are false or made up?
    weight: 1
"""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Principle(_Part):
    name: Name
    text: Annotated[str, Field(min_length=1)]
    weight: Annotated[float, Field(gt=0)] = 1.0


class Rubric(_Part):
    name: Name
    version: Annotated[str, Field(min_length=1)]
    introduction: str = ""
    principles: Annotated[tuple[Principle, ...], Field(min_length=1)]


def load_rubric(path: str | Path) -> Rubric:
    """Reads and checks a rubric. Raises InputError naming file and field."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        rubric = Rubric.model_validate(content)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"rubric {path} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'}).") from None
    except yaml.YAMLError as error:
        raise InputError(f"rubric {path} is not YAML: {' '.join(str(error).split())}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
        raise InputError(
            f"rubric {path}, field {field!r}: {first['msg'].replace('Input should', 'it should')}."
        ) from None
    names = [principle.name for principle in rubric.principles]
    if len(set(names)) < len(names) or "overall" in names:
        raise InputError(f"rubric {path}: principles need names of their own, and none is called overall.")
    return rubric
