"""compose.yaml: what can be known without a Docker daemon."""

import json
import re
from importlib import resources, util
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from broker.secret_files import SECRETS, read_secret_files
from edge_api.settings import settings_from
from infra.containers.__main__ import main, parser
from infra.containers.profiles import PROFILES, check_profiles
from infra.containers.secrets import Hosts, make_secrets
from infra.launcher.services import BUSINESS
from infra.launcher.state import REPOSITORY
from tests.infra.containers.composed import FILE, composed, ours, program, secret_files, variables
from workers.payments import choosing
from workers.users import app as users

SERVICES: dict[str, Any] = composed()["services"]
ONCE = {"secrets", "provision", "index-template"}
RUNNING = {name: service for name, service in SERVICES.items() if name not in {*ONCE, "backup"}}
OF_LIBRARIES = {"OTEL_EXPORTER_OTLP_ENDPOINT"}
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()
ROOMS = {"edge": "edge_api", "gateway": "infra/sandbox_gateway"} | {name: f"workers/{name}" for name in BUSINESS}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    make_secrets(folder, Hosts())
    return folder


def told(name: str, secrets: Path) -> dict[str, str]:
    """What the program finds in its environment when the operator has set nothing."""
    given = {key: str(value) for key, value in SERVICES[name]["environment"].items() if value is not None}
    environment = {key: value.replace("/secrets/", f"{secrets / name}/") for key, value in given.items()}
    read_secret_files(environment)
    return environment


def read_by(room: str) -> set[str]:
    """The settings that the code of a room names."""
    names = (
        name for file in (REPOSITORY / room).rglob("*.py") for name in re.findall(r"HEDGEROW_\w+", file.read_text())
    )
    return set(names)


def test_it_is_what_the_compose_specification_says() -> None:
    schema = json.loads((resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema_rs.validator_for(schema).validate(yaml.safe_load(FILE.read_text()))


def test_every_service_of_the_platform_is_in_it() -> None:
    workers = {place.parent.name for place in (REPOSITORY / "workers").glob("*/__main__.py")}
    assert {name for name, service in ours().items() if program(service)[-1].startswith("workers.")} == workers
    assert workers == set(BUSINESS)


@pytest.mark.parametrize("name", ours())
def test_its_commands_exist(name: str) -> None:
    python, dash_m, module, *arguments = program(SERVICES[name])
    assert (python, dash_m) == ("python", "-m")
    assert util.find_spec(f"{module}.__main__")
    if arguments:
        assert module == "infra.containers"
        parser().parse_args(arguments)


@pytest.mark.parametrize("name", ROOMS)
def test_a_service_reads_what_it_is_told(name: str) -> None:
    known = read_by(ROOMS[name]) | read_by("broker") | OF_LIBRARIES
    assert set(SERVICES[name]["environment"]) <= known | {f"{secret}_FILE" for secret in SECRETS}


@pytest.mark.parametrize("name", BUSINESS)
def test_a_service_is_told_what_it_needs(name: str, secrets: Path) -> None:
    assert {"HEDGEROW_AMQP_URL", "HEDGEROW_DATABASE_URL"} <= set(told(name, secrets))


def test_the_edge_is_told_what_it_needs(secrets: Path) -> None:
    settings = settings_from(told("edge", secrets))
    assert settings.keys_login == "users"
    [front] = settings.trusted_proxies
    assert str(front) == composed()["networks"]["front"]["ipam"]["config"][0]["subnet"]


def test_payments_is_told_what_it_needs(secrets: Path) -> None:
    environment = told("payments", secrets)
    choosing.check(environment)
    gateway = told("gateway", secrets)
    assert environment[choosing.KEY] == gateway[choosing.KEY]
    assert environment[choosing.URL].endswith(f"gateway:{gateway['HEDGEROW_GATEWAY_PORT']}")


def test_payments_at_stripe_is_told_what_it_needs(secrets: Path) -> None:
    choosing.check(
        told("payments", secrets)
        | {choosing.GATEWAY: "stripe", choosing.URL: "", choosing.KEY: "sk_live_1", choosing.WEBHOOK_SECRET: "whsec_1"}
    )


def test_users_is_told_what_it_needs(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in told("users", secrets).items():
        monkeypatch.setenv(name, value)
    assert users.signer()
    assert users.first_staff().credentials
    assert users.mailer()


@pytest.mark.parametrize("name", ROOMS)
def test_the_secrets_that_a_service_reads_are_made(name: str, secrets: Path) -> None:
    files = secret_files(SERVICES[name])
    assert files
    assert all((secrets / file).is_file() for file in files)


def test_whoever_needs_secrets_waits_until_they_are_made() -> None:
    made = {str(volume).split(":")[0] for volume in SERVICES["secrets"]["volumes"]}
    for name, service in SERVICES.items():
        if any(str(volume).startswith("secrets-") for volume in service.get("volumes", ())):
            assert name == "secrets" or service["depends_on"].keys() & {"secrets", "provision", "rabbitmq"}, name
    assert made - {""} >= {volume for volume in composed()["volumes"] if volume.startswith("secrets-")}


def test_up_waits_for_what_ends_by_itself() -> None:
    """`docker compose up --wait` takes an end for a success only where another service waits for it."""
    waited_for = {
        name
        for service in SERVICES.values()
        for name, wanted in service.get("depends_on", {}).items()
        if wanted["condition"] == "service_completed_successfully"
    }
    assert waited_for == ONCE


@pytest.mark.parametrize("name", ours())
def test_the_platform_s_containers_may_do_nothing_but_their_work(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in service
    assert name == "secrets" or "user" not in service


@pytest.mark.parametrize("name", RUNNING)
def test_whatever_runs_is_limited_restarted_and_looked_at(name: str) -> None:
    service = RUNNING[name]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["restart"] == "unless-stopped"
    assert (
        name in ours() or name == "jaeger" or service["healthcheck"]["test"]
    )  # Jaeger's image has no shell to ask with


def test_only_the_proxy_is_seen_from_other_machines() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert {name for name, ports in published.items() if not all(p.startswith("127.0.0.1:") for p in ports)} == {
        "caddy"
    }
    assert {name for name, service in SERVICES.items() if "front" in service.get("networks", ())} == {"caddy", "edge"}


def test_the_profiles_are_the_ones_that_are_documented() -> None:
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    assert profiles == set(PROFILES)
    assert all(f"`{profile}`" in OPERATIONS for profile in profiles)


@pytest.mark.parametrize("told", ["", "monitoring", "monitoring,tracing", "*"])
def test_a_profile_that_there_is_may_be_asked_for(told: str) -> None:
    check_profiles(told)


@pytest.mark.parametrize("told", ["monitorng", "monitoring,nonsense", "monitoring, tracing"])
def test_a_profile_that_there_is_not_ends_the_start_with_one_sentence(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("--profiles=", f"--profiles={told}") for word in SERVICES["secrets"]["command"]]
    monkeypatch.setattr("sys.argv", ["infra.containers", *words, str(tmp_path / "secrets")])
    assert main() == 1
    assert re.fullmatch(r"hedgerow: COMPOSE_PROFILES names .*; there is monitoring, .*\.\n", capsys.readouterr().err)
    assert not (tmp_path / "secrets").exists()


def test_what_may_be_set_is_documented() -> None:
    assert sorted(name for name in variables() if f"`{name}`" not in OPERATIONS) == []


def test_files_of_the_repository_that_are_mounted_are_there() -> None:
    mounted = {
        str(v).split(":")[0] for s in SERVICES.values() for v in s.get("volumes", ()) if str(v).startswith("./infra")
    }
    assert mounted
    assert all((REPOSITORY / place).exists() for place in mounted)


def test_prometheus_looks_at_every_service() -> None:
    jobs = yaml.safe_load((REPOSITORY / "infra" / "prometheus" / "containers.yml").read_text())["scrape_configs"]
    [looked_up] = next(job for job in jobs if job["job_name"] == "hedgerow")["dns_sd_configs"]
    assert sorted(looked_up["names"]) == sorted([*BUSINESS, "edge"])
    assert f"HEDGEROW_METRICS_PORT={looked_up['port']} " in (REPOSITORY / "Dockerfile").read_text()


@pytest.mark.parametrize("dashboard", ["platform", "service"])
def test_the_dashboards_show_every_service(dashboard: str) -> None:
    document = json.loads((REPOSITORY / "infra" / "grafana" / f"{dashboard}.json").read_text())
    choice = {variable["name"]: variable for variable in document["templating"]["list"]}
    assert choice["datasource"]["query"] == "prometheus"
    if dashboard == "service":
        assert "label_values(" in str(choice["service"]["query"])
