"""What the launcher tells: one line a fact, on the terminal and in logs/launcher.log."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Column, Table


class Progress:
    """Lines for a person; on a terminal with a spinner while something takes its time."""

    def __init__(self, log: Path, console: Console | None = None) -> None:
        self._log = log
        self._console = console or Console(highlight=False)

    def say(self, sentence: str) -> None:
        """One line."""
        self._record(sentence)
        self._print(escape(sentence))

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """A piece of work: what is being done, then what was done and how long it took."""
        start = time.monotonic()
        with self._spinning(doing):
            yield
        took = f"{time.monotonic() - start:.1f} s"
        self._record(f"{done} ({took})")
        self._print(f"[green]✓[/] {escape(done)} [dim]{took}[/]")

    def repeat(self, line: str) -> None:
        """A line that was said, and recorded, elsewhere."""
        self._print(escape(line))

    def fall_silent(self) -> None:
        """Close the standard output and error: from now on only the log is told."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)

    def block(self, title: str, lines: dict[str, str]) -> None:
        """The block that ends a start, a labelled line a fact: a frame on a terminal, plain lines elsewhere."""
        self._record(title)
        if self._console.is_terminal:
            table = Table.grid(Column(no_wrap=True), Column(overflow="fold"), padding=(0, 2))
            for label, text in lines.items():
                table.add_row(label, escape(text))
            self._print(Panel(table, title=title, expand=False, border_style="green"))
        else:
            self._print(escape("\n".join([title, *(f"  {label:10} {text}" for label, text in lines.items())])))

    @contextmanager
    def _spinning(self, doing: str) -> Iterator[None]:
        if self._console.is_terminal:
            with self._console.status(doing):
                yield
        else:
            self._print(escape(f"{doing} ..."))
            yield

    def _print(self, content: RenderableType) -> None:
        # A terminal that was closed must not keep the launcher from ending what it started.
        with suppress(OSError):
            self._console.print(content, soft_wrap=not self._console.is_terminal)

    def _record(self, sentence: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {sentence}\n")


def shown(path: Path) -> str:
    """The path as it is written from the folder that the user called from, where that is shorter."""
    here = os.environ.get("HEDGEROW_CALLED_FROM") or os.getcwd()
    return min(str(path), os.path.relpath(path, here), key=len)
