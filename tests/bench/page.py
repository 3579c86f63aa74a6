"""Tables for the terminal, and the page docs/performance.md.

Promise: the page holds the latest measurement of each piece, with its time and its commit, whoever won.
"""

import inspect
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Column
from rich.table import Table as Grid

from infra.launcher.state import REPOSITORY
from tests.bench.ground import FOLDER
from tests.bench.rounds import Plan, Spread, Table

PAGE = REPOSITORY / "docs" / "performance.md"
_RESULTS = FOLDER / "results"
_INTRODUCTION = """\
# Performance

Made by `./justw bench --write`. Every side is started by the script, on one machine; the sides take turns, and a
figure is the median of the rounds, with the least and the greatest in brackets. Only ratios within one table mean
something. `./justw bench lane edge` measures two pieces; `HEDGEROW_AMQP_URL` and `HEDGEROW_RABBITMQ_MANAGEMENT_URL`
choose another broker. It needs Node and npm for the peers, and wrk and h2load (fetched on Debian and Ubuntu).
"""
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


def keep(piece: str, tables: Sequence[Table], plan: Plan) -> None:
    """Remember the latest measurement of a piece."""
    _RESULTS.mkdir(parents=True, exist_ok=True)
    kept = {"measured": _circumstances(plan), "tables": [table.to_json() for table in tables]}
    (_RESULTS / f"{piece}.json").write_text(json.dumps(kept, indent=2))


def write(pieces: Mapping[str, ModuleType], machine: Mapping[str, str]) -> None:
    """Write the page anew from the latest measurement of each piece."""
    parts = [_INTRODUCTION, "\n".join(f"- {name}: {said}" for name, said in machine.items())]
    for piece, module in pieces.items():
        place = _RESULTS / f"{piece}.json"
        if place.exists():
            parts += _section(module, json.loads(place.read_text()))
    PAGE.write_text("\n\n".join(part.strip() for part in parts) + "\n")


def _section(module: ModuleType, kept: Mapping[str, Any]) -> list[str]:
    title, _, about = (inspect.getdoc(module) or "").partition("\n")
    parts = [f"## {title}", f"{about.strip()}\n\n{kept['measured']}"]
    for table in map(Table.from_json, kept["tables"]):
        parts += [f"### {table.title}", _markdown(table), "\n".join(f"- {verdict}" for verdict in table.verdicts)]
    return [part for part in parts if part]


def _markdown(table: Table) -> str:
    columns = _columns(table)
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for side, figures in table.rows.items():
        lines.append(f"| {side} | " + " | ".join(_cell(figures.get(column)) for column in columns) + " |")
    return "\n".join(lines)


def _circumstances(plan: Plan) -> str:
    lane = f", HEDGEROW_LANE={os.environ['HEDGEROW_LANE']}" if "HEDGEROW_LANE" in os.environ else ""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True
    ).stdout.strip()
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"Measured {when} at {commit or 'an unknown commit'}{lane}: {plan.rounds} rounds of {plan.seconds:g} s."


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
