"""Where tables come from: files, plain or packed, folders of shards, and datasets of the hub."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from custodes.table_text import plain_value, repaired
from custodes.types import InputError

KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
PACKED = (".gz", ".zst")
EXTENSIONS = tuple(kind + packed for kind in KINDS for packed in ("", *PACKED))
GIVE = "give .jsonl, .json, .csv, .tsv or .parquet, plain or as .gz or .zst"

_SHARD = re.compile(r"^(?P<stem>.*?)-?(?P<number>\d{5})-of-(?P<of>\d{5})$")
_HUB = re.compile(r"^(?P<id>[\w.-]+/[\w.-]+)(?::(?P<config>[^:/]+))??(?::(?P<split>[^:/]+))?$")
_ABOUT = {"dataset_info.json", "dataset_dict.json", "dataset_infos.json", "state.json"}  # beside a dataset's tables


def table_kind(path: str | Path) -> tuple[str, str]:
    """(extension, extension of its packing or ""), in small letters. Raises InputError where a file is no table."""
    name = Path(path).name.lower()
    packed = next((p for p in PACKED if name.endswith(p)), "")
    kind = next((k for k in KINDS if name.removesuffix(packed).endswith(k)), None)
    if kind is None:
        raise InputError(f"{path}: unknown extension; {GIVE}.")
    return kind, packed


def table_files(path: str | Path) -> list[Path]:
    """The file ``path``, or the table in the folder ``path``: one file, or its shards in order.

    FOLDER/NAME stands for the shards NAME-00000-of-... of that folder. Raises InputError when there is no such table or
    more than one, and names the shard that is missing.
    """
    path = Path(path)
    if path.is_dir():
        found = [
            p for p in path.iterdir() if p.is_file() and p.name not in _ABOUT and p.name.lower().endswith(EXTENSIONS)
        ]
        return _shards(path, found)
    if not path.exists():
        beside = path.parent.glob(f"{path.name}-*-of-*") if path.parent.is_dir() else ()
        if shards := [p for p in beside if p.name.lower().endswith(EXTENSIONS)]:
            return _shards(path, shards)
        raise InputError(f"{path} does not exist; {GIVE}.")
    table_kind(path)
    return [path]


def reading(path: Path, read: Callable[[], Any]) -> Any:
    """What ``read`` returns. Raises InputError naming ``path`` for what a damaged file makes of a library."""
    try:
        return read()
    except (pa.ArrowException, gzip.BadGzipFile, zlib.error, EOFError, csv.Error) as error:
        raise InputError(f"{path} is damaged or not what its name says: {first_line(error)}.") from None
    except UnicodeDecodeError as error:
        row = 1 + error.object.count(b"\n", 0, error.start)
        raise InputError(f"{path} is not UTF-8 text (row {row:,}, byte {error.start:,}); save it as UTF-8.") from None
    except OSError as error:  # Arrow's own have no strerror
        why = error.strerror or first_line(error)
        if error.errno is None:
            raise InputError(f"{path} is damaged or not what its name says: {why}.") from None
        raise InputError(f"{path} cannot be read: {why}.") from None


def bytes_of(path: Path) -> bytes:
    """A file's content, unpacked. Raises what :func:`reading` understands."""
    data = path.read_bytes()
    packed = table_kind(path)[1]
    if packed == ".gz":
        return gzip.decompress(data)
    if packed == ".zst" and data:
        return bytes(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())
    return data


def arrow_of(path: Path) -> pa.Table:
    """The table of a .parquet or .arrow file, packed or not."""
    plain, (kind, packed) = path, table_kind(path)
    source: Any = pa.BufferReader(bytes_of(path)) if packed else plain
    if kind == ".parquet":
        return pq.ParquetFile(source).read()
    with pa.input_stream(source) as stream:  # as datasets writes it: a stream, or a file of Arrow's
        data = stream.read()
    opened = pa.ipc.open_file if data.startswith(b"ARROW1") else pa.ipc.open_stream
    return opened(pa.BufferReader(data)).read_all()


def shard_of(path: Path) -> re.Match[str] | None:
    """Which of how many shards a file is by its name ("number", "of"); None where it is a table of its own."""
    return _SHARD.match(_stem(path))


def _stem(path: Path) -> str:
    return path.name[: -len("".join(table_kind(path)))]


def _shards(path: Path, found: list[Path]) -> list[Path]:
    """The one table among the files ``found`` of a folder. Raises InputError where there is none or more than one."""
    found.sort(key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", p.name)])
    if len(found) == 1 and shard_of(found[0]) is None:
        return found
    tables: dict[tuple[str, str], list[Path]] = {}
    for p in found:  # files that are alike but for their numbers are shards of one table
        tables.setdefault((re.sub(r"\d+", "#", _stem(p)), "".join(table_kind(p))), []).append(p)
    if len(tables) != 1:
        shown = ", ".join(
            f"{files[0].name}{f' and {len(files) - 1} more' if files[1:] else ''}" for files in tables.values()
        )
        raise InputError(f"{path} is a folder with {len(tables)} tables ({shown or 'none'}); name one file.")
    numbered = [shard for p in found if (shard := shard_of(p))]
    if numbered:
        of = {int(shard["of"]) for shard in numbered}
        missing = [n for n in range(max(of)) if n not in {int(shard["number"]) for shard in numbered}]
        if len(of) > 1 or missing:
            what = f"shard {missing[0]:05d} of {max(of):,} is missing" if missing else "its shards are of two tables"
            raise InputError(f"{path}: {what}; fetch all of them into a folder of their own.")
    return found


def is_hub(path: str | Path) -> bool:
    """Whether ``path`` is the name of a dataset of the hub, and of nothing on this disk."""
    exists = Path(path).exists() or any(Path(path).parent.glob(f"{Path(path).name}-*-of-*"))
    return not exists and _HUB.match(str(path)) is not None and not str(path).lower().endswith(EXTENSIONS)


def hub_id(id_: str) -> tuple[str, str | None, str | None]:
    """(owner/name, configuration, split) of a hub id."""
    match = _HUB.match(id_)
    return (match["id"], match["config"], match["split"]) if match else (id_, None, None)


def hub_rows(
    name: str, config: str | None, split: str | None, notes: list[str]
) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """The rows of a dataset that ``datasets`` loads by this name. Raises InputError where it cannot."""
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"{name}{f':{split}' if split else ''} does not exist here; if it is a dataset of a hub, what reads "
            "it is missing: pip install 'custodes[hub]'."
        ) from None
    try:
        splits = datasets.load_dataset(name, config)
    except Exception as error:  # of many libraries: no network, no such dataset, a script in place of data
        raise InputError(f"{name} is neither a file nor a dataset that can be loaded: {first_line(error)}.") from None
    if split is None and ("train" in splits or len(splits) == 1):
        split = "train" if "train" in splits else next(iter(splits))
        notes.append(f"{name}: the split {split!r} was read; it has {', '.join(map(str, splits))}.")
    if split not in splits:
        raise InputError(f"{name} has the splits {', '.join(map(str, splits))}; name one as {name}:SPLIT.")
    rows = list(enumerate(({k: plain_value(v) for k, v in row.items()} for row in splits[split]), 1))
    for number, values in repaired(Path(name), rows, notes):
        yield Path(name), number, {k: v for k, v in values.items() if v is not None}


def first_line(error: BaseException) -> str:
    """What an error says, as part of a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
