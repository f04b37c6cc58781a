"""A key that signs the heads of ledgers: what ``custodes ledger keygen`` makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from custodes.job.command import command, in_words
from custodes.ledger.heads import default_key, make_key


@dataclass(frozen=True, kw_only=True)
class LedgerKeygen:
    """Make an ed25519 key; from then on every head that is kept is signed by it."""

    out: Path | None = None
    """File of the private key, the public one beside it; ~/.config/custodes/ledger.key where it is not given."""


@command(recorded=False)
def ledger_keygen(config: LedgerKeygen) -> dict[str, str]:
    """Make a key that signs the heads of ledgers."""
    path = config.out or default_key()
    return {"private_key": str(path), "public_key": str(make_key(path))}


@in_words(ledger_keygen)
def _show(config: LedgerKeygen, made: dict[str, str]) -> None:
    print(f"The private key is in {made['private_key']}. Give {made['public_key']} to whoever verifies.")
    if config.out not in (None, default_key()):
        print(f"It signs where CUSTODES_LEDGER_KEY={config.out} is set.")
