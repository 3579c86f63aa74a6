"""Rules, alerts, runbook and dashboards: right by Prometheus' own tools, and complete."""

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from infra.grafana.__main__ import write
from infra.grafana.dashboards import documents, expressions
from infra.launcher import prometheus
from infra.launcher.failure import Failure
from infra.launcher.leftovers import is_running
from infra.launcher.lock import running_launcher
from infra.launcher.plugged_in import note_plugin
from infra.launcher.prometheus import CONFIGURATION, binaries, keep_targets
from infra.launcher.state import REPOSITORY, State
from tests.infra.conftest import Launcher
from tests.support.eventually import eventually
from tests.support.servers import skip_or_fail

pytestmark = pytest.mark.servers
RULES = (CONFIGURATION / "rules.yml").read_text()
ALERTS = re.findall(r"alert: (\w+)", RULES)
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text()


@pytest.fixture(scope="module")
def tools() -> Path:
    """Where prometheus and promtool are."""
    try:
        return binaries()
    except Failure as failure:
        skip_or_fail(failure)


def promtool(tools: Path, *arguments: str) -> None:
    """Run it; what it finds wrong is the reason why the test fails."""
    done = subprocess.run([tools / "promtool", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("where", ["prometheus", "containers"])
def test_the_configurations_are_right(tools: Path, where: str) -> None:
    promtool(tools, "check", "config", str(CONFIGURATION / f"{where}.yml"))


def test_the_alerts_fire_when_they_should_and_only_then(tools: Path) -> None:
    promtool(tools, "test", "rules", str(CONFIGURATION / "rules_test.yml"))


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    assert set(re.findall(r'alertname="(\w+)"', (CONFIGURATION / "rules_test.yml").read_text())) == set(ALERTS)


def test_every_expression_of_the_dashboards_is_right(tools: Path, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{at}", "expr": expression} for at, expression in enumerate(expressions())]
    assert rules
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool(tools, "check", "rules", "--lint-fatal", str(tmp_path / "panels.yml"))


def test_the_dashboards_are_as_the_code_writes_them(tmp_path: Path) -> None:
    write(tmp_path)
    for name in documents():
        written = (REPOSITORY / "infra" / "grafana" / f"{name}.json").read_text()
        assert written == (tmp_path / f"{name}.json").read_text(), "write them anew: ./justw documents"


def test_every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() -> None:
    assert len(ALERTS) == len(set(ALERTS))
    assert re.findall(r"runbook: docs/runbook\.md#(\w+)", RULES) == [alert.lower() for alert in ALERTS]
    assert re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE) == ALERTS


def test_the_links_within_the_runbook_lead_somewhere() -> None:
    links = re.findall(r"\[(\w+)\]\(#(\w+)\)", RUNBOOK)
    assert links
    assert {name for name, _ in links} <= set(ALERTS)
    assert all(name.lower() == anchor for name, anchor in links)


async def test_targets_follow_the_plug_ins(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "_LOOK_EVERY", 0.02)
    told = state.folder / "prometheus" / "targets.json"
    following = asyncio.create_task(keep_targets(state, {"users": 1}))

    async def are(expected: dict[str, str]) -> bool:
        assert told.exists()
        targets = json.loads(told.read_text())
        return {target["labels"]["service"]: target["targets"][0] for target in targets} == expected

    await eventually(lambda: are({"users": "127.0.0.1:1"}))
    note_plugin(state, "sales", metrics=2)
    await eventually(lambda: are({"users": "127.0.0.1:1", "sales": "127.0.0.1:2"}))
    (state.folder / "plugins" / f"{os.getpid()}.json").unlink()
    await eventually(lambda: are({"users": "127.0.0.1:1"}))
    following.cancel()


def test_up_with_monitoring_runs_a_prometheus_that_down_stops(
    tools: Path, launcher: Launcher, state: State, given: dict[str, str]
) -> None:
    up = launcher("up", "--detach", "--servers-only", "--with", "monitoring", **given)
    assert (up.returncode, up.stderr) == (0, "")
    runtime = state.read("runtime.json")
    pid = runtime["servers"]["prometheus"]
    assert f"Prometheus {runtime['prometheus']}" in up.stdout
    pages = httpx.get(runtime["prometheus"], follow_redirects=True, timeout=10, trust_env=False)
    assert (pages.status_code, "Prometheus" in pages.text) == (200, True)
    assert is_running(pid)
    assert launcher("down").returncode == 0
    assert not is_running(pid)
    assert running_launcher(state) is None


def test_a_profile_that_there_is_not_is_refused(launcher: Launcher) -> None:
    done = launcher("up", "--servers-only", "--with", "magic")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--with magic: there is no such profile; there is monitoring, redis." in done.stderr
