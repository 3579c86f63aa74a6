"""The ledger: one SQLite file with the payments, every movement of money, and the answers kept for idempotency keys.

One process writes, from one thread: a transaction is never interleaved with another.
"""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.sandbox_gateway.payment import Answer, Kind, Payment, now

_SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (id TEXT PRIMARY KEY, reference TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS payments_by_reference ON payments (reference);
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, payment TEXT NOT NULL, reference TEXT NOT NULL, kind TEXT NOT NULL,
    amount INTEGER NOT NULL, currency TEXT NOT NULL, at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS entries_by_reference ON entries (reference);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (reference TEXT PRIMARY KEY);
"""


class Ledger:
    """What is written is committed before it is answered, and outlives the process."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Fold the write-ahead log into the file."""
        self._connection.close()

    def together(self, effect: Callable[[], Answer]) -> Answer:
        """Do all of the effect or nothing of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            answer = effect()
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return answer

    def keep_answer(self, key: str, fingerprint: str, answer: Answer) -> None:
        """Remember the first answer of an idempotency key."""
        row = (key, fingerprint, answer.status, answer.body, now())
        self._connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", row)

    def kept_answer(self, key: str) -> tuple[str, Answer] | None:
        """The fingerprint of the request that used the key first, and its answer."""
        row = self._connection.execute("SELECT * FROM answers WHERE key = ?", (key,)).fetchone()
        return row and (row["fingerprint"], Answer(row["status"], row["body"]))

    def fail_first(self, reference: str) -> bool:
        """Whether this is the first time that somebody asks so for this reference."""
        cursor = self._connection.execute("INSERT OR IGNORE INTO failures VALUES (?)", (reference,))
        return cursor.rowcount == 1

    def put(self, payment: Payment) -> Payment:
        """Write the payment as it stands now."""
        row = (payment.id, payment.reference, payment.model_dump_json())
        self._connection.execute(
            "INSERT INTO payments VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body", row
        )
        return payment

    def enter(self, kind: Kind, payment: Payment, amount: int | None = None) -> None:
        """Write down a movement of money (all of the payment's, if nothing else is said), or its refusal."""
        moved = payment.amount if amount is None else amount
        row = (payment.id, payment.reference, kind, moved, payment.currency, now())
        self._connection.execute(
            "INSERT INTO entries (payment, reference, kind, amount, currency, at) VALUES (?, ?, ?, ?, ?, ?)", row
        )

    def payment(self, id_: str) -> Payment | None:
        """The payment with this id."""
        row = self._connection.execute("SELECT body FROM payments WHERE id = ?", (id_,)).fetchone()
        return row and Payment.model_validate_json(row["body"])

    def payments(self, reference: str) -> list[dict[str, Any]]:
        """All payments of a reference, oldest first."""
        rows = self._connection.execute("SELECT body FROM payments WHERE reference = ? ORDER BY rowid", (reference,))
        return [json.loads(row["body"]) for row in rows]

    def entries(self, reference: str | None = None) -> list[dict[str, Any]]:
        """Every movement of money (of one reference), oldest first."""
        rows = self._connection.execute(
            "SELECT * FROM entries WHERE ?1 IS NULL OR reference = ?1 ORDER BY id", (reference,)
        )
        return [dict(row) for row in rows]
