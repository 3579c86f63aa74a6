from typing import ClassVar

import pytest

from broker.service import Http, Service
from broker.transaction import Transaction
from contracts.base import *
from tests.conftest import Start

pytestmark = pytest.mark.servers


class Echo(Message):
    word: str


class Say(Operation[Echo]):
    topic: ClassVar[str] = "echo.say.v1"
    word: str


class Said1(Event):
    topic: ClassVar[str] = "echo.said.v1"
    subject: ClassVar[str] = "word"
    word: str


class Shout(Command):
    topic: ClassVar[str] = "echo.shout.v1"
    subject: ClassVar[str] = "word"
    word: str


def make():
    service = Service("echo", says=(Said1,))

    @service.answers(Say, http=Http("POST", "/say", who="anyone"))
    async def say(ask: Say, tx: Transaction) -> Echo:
        tx.emit(Said1(word=ask.word))
        return Echo(word=ask.word)

    @service.does(Shout)
    async def shout(command: Shout, tx: Transaction) -> None:
        tx.emit(Said1(word=command.word.upper()))

    return service


async def test_it_answers(running: Start):
    bench = await running(make())
    print(await bench.ask(Say(word="hello")))
    print(await bench.heard(Said1))
    await bench.send(Shout(word="x"))
    print(await bench.heard(Said1))
