"""Tables for the terminal, and the page docs/performance.md."""

from rich.console import Console
from rich.table import Column
from rich.table import Table as Grid

from tests.bench.rounds import Spread, Table

_console = Console(highlight=False)
if not _console.is_terminal:
    _console = Console(highlight=False, width=160)


def show(table: Table) -> None:
    """Print a table and what it means."""
    columns = _columns(table)
    grid = Grid(Column(no_wrap=True), *(Column(name, justify="right", no_wrap=True) for name in columns))
    for side, figures in table.rows.items():
        grid.add_row(side, *(_cell(figures.get(column)) for column in columns))
    _console.print(f"\n[bold]{table.title}[/]")
    _console.print(grid)
    for verdict in table.verdicts:
        _console.print(f"  {verdict}", soft_wrap=True)


def _columns(table: Table) -> list[str]:
    return list(dict.fromkeys(column for figures in table.rows.values() for column in figures))


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    if len(spread.values) == 1:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(min(spread.values))}–{_number(max(spread.values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
