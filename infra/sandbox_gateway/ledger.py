"""The ledger: one SQLite file with the payments, every movement of money, the answers kept for idempotency keys, and
the webhooks to be sent.

One process writes, from one thread: a transaction is never interleaved with another.
"""

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from infra.sandbox_gateway.payment import Answer, Kind, Payment, now

_SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (id TEXT PRIMARY KEY, reference TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS payments_by_reference ON payments (reference);
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, payment TEXT NOT NULL, reference TEXT NOT NULL, kind TEXT NOT NULL,
    amount INTEGER NOT NULL, currency TEXT NOT NULL, at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS entries_by_reference ON entries (reference);
CREATE INDEX IF NOT EXISTS entries_by_payment ON entries (payment, id);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (reference TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS webhooks (
    id INTEGER PRIMARY KEY, body TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, due_at REAL);
CREATE INDEX IF NOT EXISTS webhooks_due ON webhooks (due_at) WHERE due_at IS NOT NULL;
"""


class Webhook(NamedTuple):
    """An event as it is sent, and how often that was tried."""

    id: int
    body: str
    attempts: int


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

    def together(self, effect: Callable[[], Answer], *, tell_at: float | None = None) -> Answer:
        """Do all of the effect or nothing of it; with `tell_at`, its movements of money become webhooks, due then."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            last = self._connection.execute("SELECT max(id) AS id FROM entries").fetchone()["id"] or 0
            answer = effect()
            if tell_at is not None:
                self._tell(after=last, at=tell_at)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return answer

    def _tell(self, *, after: int, at: float) -> None:
        moved = "SELECT kind, body FROM entries JOIN payments ON payments.id = payment WHERE entries.id > ?"
        for row in self._connection.execute(moved, (after,)).fetchall():
            event = {"id": f"evt_{uuid4().hex}", "object": "event", "type": f"payment.{row['kind']}"}
            body = json.dumps({**event, "created": int(time.time()), "data": json.loads(row["body"])})
            self._connection.execute("INSERT INTO webhooks (body, due_at) VALUES (?, ?)", (body, at))

    def webhooks(self, *, due_at: float) -> list[Webhook]:
        """Those that are due, the oldest first."""
        due = "SELECT id, body, attempts FROM webhooks WHERE due_at <= ? ORDER BY id"
        return [Webhook(*row) for row in self._connection.execute(due, (due_at,))]

    def count_webhooks(self) -> dict[str, int]:
        """How many have arrived (or were to be sent to nobody), and how many have not."""
        counted = "SELECT count(*) FILTER (WHERE due_at IS NULL) AS closed, count(due_at) AS waiting FROM webhooks"
        return dict(self._connection.execute(counted).fetchone())

    def close_webhook(self, id_: int) -> None:
        """It has arrived."""
        self._connection.execute("UPDATE webhooks SET attempts = attempts + 1, due_at = NULL WHERE id = ?", (id_,))

    def postpone_webhook(self, id_: int, *, due_at: float) -> None:
        """It has not arrived, and is tried again."""
        row = (due_at, id_)
        self._connection.execute("UPDATE webhooks SET attempts = attempts + 1, due_at = ? WHERE id = ?", row)

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

    def movements(self, after: int, *, older_than: float, limit: int) -> list[dict[str, Any]]:
        """The last entry of each payment, after this one and older than so many seconds, with the payment as it stands,
        oldest first."""
        before = now(earlier=older_than)
        rows = self._connection.execute(
            "SELECT entries.id, kind, at, body FROM entries JOIN payments ON payments.id = payment"
            " WHERE entries.id > ? AND at <= ? AND NOT EXISTS"
            " (SELECT * FROM entries AS later WHERE later.payment = entries.payment AND later.id > entries.id)"
            " ORDER BY entries.id LIMIT ?",
            (after, before, limit),
        )
        return [
            {"id": row["id"], "kind": row["kind"], "at": row["at"], "payment": json.loads(row["body"])} for row in rows
        ]

    def entries(self, reference: str | None = None) -> list[dict[str, Any]]:
        """Every movement of money (of one reference), oldest first."""
        rows = self._connection.execute(
            "SELECT * FROM entries WHERE ?1 IS NULL OR reference = ?1 ORDER BY id", (reference,)
        )
        return [dict(row) for row in rows]
