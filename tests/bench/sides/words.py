"""What is said in the bench."""

from typing import ClassVar

from contracts.base import Message, Query


class Word(Message):
    """What came back."""

    word: str


class Say(Query[Word]):
    """Say it again."""

    topic: ClassVar[str] = "bench.say.v1"
    word: str
