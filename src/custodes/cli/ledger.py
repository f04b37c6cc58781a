"""Commands of the record: check it, and keep its heads where nobody who may write it can reach them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.cli.options import parse
from custodes.cli.words import print_json
from custodes.types import InputError

Where = Annotated[str, tyro.conf.arg(metavar="LEDGER")]


def verify(given: list[str]) -> int:
    """Check that nothing in a ledger was edited, removed or reordered."""
    from custodes.ledger.checking import check_ledger

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Check a ledger. Exit code 0 where everything is as it was recorded, else 1 and one sentence for each problem."""

        ledger: tyro.conf.Positional[Where]
        """File or URL (sqlite:///..., postgresql://...)."""
        head: str = ""
        """A hash that was kept elsewhere: the ledger must contain it."""
        head_file: Path | None = None
        """Heads that were kept elsewhere, one a line: the ledger must contain all of its own."""
        public_key: Path | None = None
        """The key by which every line of the head file must be signed."""
        files: bool = True
        """Check the files too that the runs read and wrote."""
        json: bool = False
        """Print one JSON object."""

    options = parse("verify", Options, given)
    found = check_ledger(
        options.ledger,
        head=options.head,
        head_file=options.head_file,
        public_key=options.public_key,
        files=options.files,
    )
    if options.json:
        print_json(
            {"ok": found.ok, "rows": found.rows, "head": found.head, "problems": found.problems, "notes": found.notes}
        )
    else:
        for problem in found.problems:
            print(f"The record is broken: {problem}")
        if found.ok:
            print(f"The chain holds: {found.rows:,} rows, head {found.head}.")
        for note in found.notes:
            print(note)
    return 0 if found.ok else 1


def keygen(given: list[str]) -> int:
    """Make a key that signs the heads of ledgers."""
    from custodes.ledger.heads import default_key, make_key

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Make an ed25519 key; from then on every head that is kept is signed by it."""

        out: Path | None = None
        """File of the private key, the public one beside it; ~/.config/custodes/ledger.key where it is not given."""

    path = parse("ledger keygen", Options, given).out or default_key()
    public = make_key(path)
    print(f"The private key is in {path}. Give {public} to whoever verifies.")
    if path != default_key():
        print(f"It signs where CUSTODES_LEDGER_KEY={path} is set.")
    return 0


def sign(given: list[str]) -> int:
    """Print the head of a ledger, signed, and keep it in a file."""
    from dataclasses import asdict

    from custodes.ledger import Ledger
    from custodes.ledger.heads import append_head, configured_key, read_private_key
    from custodes.ledger.heads import sign as sign_head

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Print the head of a ledger as one JSON object, signed by your key."""

        ledger: tyro.conf.Positional[Where]
        """File or URL (sqlite:///..., postgresql://...)."""
        head_file: Path | None = None
        """Add it to this file too, where the writer of the ledger cannot change it."""
        key: Path | None = None
        """The private key; without it CUSTODES_LEDGER_KEY, or the file that `custodes ledger keygen` writes."""

    options = parse("ledger sign", Options, given)
    path = options.key or configured_key()
    if path is None:
        raise InputError("there is no key to sign with; make one with custodes ledger keygen, or give --key.")
    key = read_private_key(path)
    with Ledger.open(options.ledger, read_only=True) as ledger:
        chain = ledger.verify()
        if not chain.ok:
            raise InputError(f"{options.ledger} is not signed, since its chain is broken: {chain.problem}")
        head = sign_head(ledger.head(), key)
    if options.head_file is not None:
        append_head(options.head_file, head)
    print_json(asdict(head))
    return 0
