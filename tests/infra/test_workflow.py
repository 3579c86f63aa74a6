"""The CI workflow: what can be known without GitHub."""

import json
import re
import tomllib
from importlib import resources, util
from typing import Any

import jsonschema_rs
import yaml

from infra.launcher.state import REPOSITORY
from tests.infra.containers.composed import composed

TEXT = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text()
WORKFLOW: dict[Any, Any] = yaml.load(TEXT, yaml.CSafeLoader)
JOBS: dict[str, Any] = WORKFLOW["jobs"]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def steps() -> str:
    """Every command of every job."""
    return "\n".join(step.get("run", "") for job in JOBS.values() for step in job["steps"])


def test_it_is_what_github_says_a_workflow_is() -> None:
    schema = resources.files("check_jsonschema") / "builtin_schemas/vendor/github-workflows.json"
    told = {"on" if key is True else key: value for key, value in WORKFLOW.items()}  # YAML 1.1 reads `on` as true
    jsonschema_rs.validator_for(json.loads(schema.read_text())).validate(told)


def test_actions_are_pinned_by_digest_with_their_versions_beside_it() -> None:
    used = re.findall(r"uses: (.*)", TEXT)
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


def test_every_python_and_rabbitmq_that_is_promised_is_tested() -> None:
    matrix = JOBS["test"]["strategy"]["matrix"]
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert matrix["python"] == [oldest, "3.12", "3.13", "3.14"]
    assert {*matrix["rabbitmq"], *(more["rabbitmq"] for more in matrix["include"])} == {"4", "3.13"}


def test_it_runs_what_every_change_must_pass() -> None:
    assert (REPOSITORY / ".ci" / "run").is_file()
    assert [step for step in JOBS["test"]["steps"] if step.get("run") == ".ci/run"]
    assert "./justw check" in steps()


def test_the_modules_that_it_runs_exist() -> None:
    modules = set(re.findall(r"\.venv/bin/python -m (\S+)", steps()))
    assert modules == {"infra.containers", "tests.system.first_order"}
    assert all(util.find_spec(module) for module in modules)


def test_it_installs_the_servers_that_tests_start_and_hurt() -> None:
    [installed] = re.findall(r"apt-get install --yes --no-install-recommends (.+)", steps())
    assert set(installed.split()) == {"rabbitmq-server", "postgresql", "redis-server", "prometheus"}
    assert steps().index("policy-rc.d") < steps().index("apt-get install")


def test_its_profiles_exist() -> None:
    profiles = {profile for service in composed()["services"].values() for profile in service.get("profiles", ())}
    assert set(JOBS["image"]["env"]["COMPOSE_PROFILES"].split(",")) <= profiles


def test_nothing_is_released_that_did_not_pass() -> None:
    release = JOBS["release"]
    assert release["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(release["needs"]) == JOBS.keys() - {"release"}
    assert {name for name, job in JOBS.items() if "permissions" in job} == {"release"}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert re.search(rf'(?m)^version = "{re.escape(PROJECT["version"])}"$', (REPOSITORY / "pyproject.toml").read_text())
