"""The manifests of both overlays: what can be known without a cluster."""

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module, util
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from broker import topology
from broker.secret_files import SECRETS
from infra.containers.__main__ import parser
from infra.containers.secrets import Hosts, Secrets
from infra.launcher.services import BUSINESS
from infra.launcher.state import REPOSITORY
from tests.infra.containers.composed import composed
from tests.infra.kubernetes.published import PUBLISHED, problems
from tests.infra.kubernetes.rendered import FOLDER, OVERLAYS, Object, containers, of_kind, pod_of, rendered

KUBERNETES = "1.33"
TO_AN_END = {"provision", "backup"}
OURS = {*BUSINESS, "edge", "gateway", *TO_AN_END}


@pytest.fixture(scope="module")
def schemas() -> Iterator[None]:
    """Kubernetes' own schemas, each read once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("schema_contents", "all_versions"):
            patch.setattr(kubernetes_validate.utils, name, cache(getattr(kubernetes_validate.utils, name)))
        yield


def pods(overlay: str) -> dict[str, Object]:
    """The pod templates of an overlay by the names of their workloads."""
    return {
        name: pod_of(made) for kind in ("Deployment", "Job", "CronJob") for name, made in of_kind(overlay, kind).items()
    }


def settings(container: Object) -> dict[str, str]:
    return {setting["name"]: setting["value"] for setting in container.get("env", ())}


@pytest.mark.usefixtures("schemas")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_takes_every_object(overlay: str) -> None:
    for made in rendered(overlay):
        if (made["apiVersion"], made["kind"]) not in PUBLISHED:
            kubernetes_validate.validate(made, KUBERNETES, strict=True)


@pytest.mark.usefixtures("schemas")
def test_a_field_that_kubernetes_does_not_know_would_be_found() -> None:
    service = of_kind("prod", "Service")["edge"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**service, "spec": {**service["spec"], "port": 8080}}, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_operators_take_every_custom_resource(overlay: str) -> None:
    custom = [made for made in rendered(overlay) if (made["apiVersion"], made["kind"]) in PUBLISHED]
    assert {(made["apiVersion"], made["kind"]) for made in custom} == PUBLISHED.keys()
    for made in custom:
        assert problems(made["spec"], PUBLISHED[made["apiVersion"], made["kind"]]) == []


def test_a_custom_resource_with_a_wrong_field_would_be_found() -> None:
    wrong = {"minReplicaCount": "2", "trigger": [], "triggers": [{"type": "cpu"}]}
    assert problems(wrong, PUBLISHED["keda.sh/v1alpha1", "ScaledObject"]) == [
        "spec.scaleTargetRef is missing",
        "spec.trigger is unknown",
        "spec.minReplicaCount is no int",
        "spec.triggers[0].metadata is missing",
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_service_runs_is_scaled_watched_and_kept_available(overlay: str) -> None:
    workers = {place.parent.name for place in (REPOSITORY / "workers").glob("*/__main__.py")}
    assert workers <= of_kind(overlay, "Deployment").keys()
    assert workers == of_kind(overlay, "ScaledObject").keys() == of_kind(overlay, "TriggerAuthentication").keys()
    assert workers | {"edge"} <= of_kind(overlay, "PodDisruptionBudget").keys()
    assert of_kind(overlay, "HorizontalPodAutoscaler").keys() == {"edge"}
    [watched] = of_kind(overlay, "PodMonitor")["hedgerow"]["spec"]["selector"]["matchExpressions"]
    assert set(watched["values"]) == workers | {"edge"}


@pytest.mark.parametrize("service", BUSINESS)
def test_a_service_grows_with_each_of_its_queues(service: str) -> None:
    manifest = import_module(f"workers.{service}.handlers").service.manifest()
    consumed = set(topology.consumed_queues(manifest)) - {topology.suspects_queue(service)}
    scaled = of_kind("prod", "ScaledObject")[service]["spec"]
    assert scaled["scaleTargetRef"] == {"name": service}
    assert {t["metadata"]["queueName"] for t in scaled["triggers"] if t["type"] == "rabbitmq"} == consumed


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nobody_grows_from_nothing(overlay: str) -> None:
    """A service without an instance answers 503, and starts no sooner for it."""
    assert all(scaled["spec"]["minReplicaCount"] > 0 for scaled in of_kind(overlay, "ScaledObject").values())
    assert "replicas" not in str([of_kind(overlay, "Deployment")[service]["spec"].keys() for service in BUSINESS])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_commands_and_probes_exist(overlay: str) -> None:
    ours = [container for container in containers(overlay).values() if container["image"].startswith("hedgerow:")]
    assert {container["name"] for container in ours} == (OURS if overlay == "dev" else OURS - {"gateway"})
    probes = [
        probe["exec"]["command"] for c in ours for probe in c.values() if isinstance(probe, dict) and "exec" in probe
    ]
    for python, dash_m, module, *arguments in [container["command"] for container in ours] + probes:
        assert (python, dash_m) == ("python", "-m")
        assert util.find_spec(f"{module}.__main__")
        if arguments:
            parser().parse_args(arguments)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_whoever_serves_is_probed(overlay: str) -> None:
    for name, container in containers(overlay).items():
        assert name in TO_AN_END or "livenessProbe" in container
        assert name in TO_AN_END or container.keys() & {"readinessProbe", "startupProbe"}
        assert name not in BUSINESS or container["livenessProbe"]["exec"]["command"][-1] == "alive"


@pytest.mark.parametrize("service", [*BUSINESS, "edge", "gateway"])
def test_a_service_is_told_the_same_as_in_compose(service: str) -> None:
    in_compose = {name: value for name, value in composed()["services"][service]["environment"].items() if value}
    of_the_image = set(re.findall(r"HEDGEROW_\w+(?==)", (REPOSITORY / "Dockerfile").read_text()))
    by_the_overlay = of_kind("dev", "ConfigMap")["settings"]["data"] | of_kind("prod", "ConfigMap")["settings"]["data"]
    told = settings(containers("dev")[service])
    assert {name: value for name, value in told.items() if name in SECRETS or name.endswith("_FILE")}
    assert in_compose.keys() - told.keys() <= by_the_overlay.keys()
    assert {name: in_compose.get(name) for name in told} == told
    assert not told.keys() & of_the_image


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_of_an_overlay_are_read_by_the_code(overlay: str) -> None:
    code = "".join(
        f.read_text() for room in ("workers", "edge_api", "broker") for f in (REPOSITORY / room).rglob("*.py")
    )
    assert all(f'"{name}"' in code for name in of_kind(overlay, "ConfigMap")["settings"]["data"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_secret_that_is_named_is_there(overlay: str) -> None:
    there = {(name, key) for name, secret in of_kind(overlay, "Secret").items() for key in secret["data"]}
    assert set(named(overlay)) <= there


def named(overlay: str) -> Iterator[tuple[str, str]]:
    """Who names a Secret's key."""
    for name, container in containers(overlay).items():
        for value in settings(container).values():
            if value.startswith("/secrets/"):
                yield name, value.removeprefix("/secrets/")
    for job in TO_AN_END:
        for source in pods(overlay)[job]["spec"]["volumes"][0]["projected"]["sources"]:
            yield from ((source["secret"]["name"], item["key"]) for item in source["secret"]["items"])
    for authentication in of_kind(overlay, "TriggerAuthentication").values():
        yield from ((ref["name"], ref["key"]) for ref in authentication["spec"]["secretTargetRef"])
    broker = of_kind(overlay, "RabbitmqCluster")["rabbitmq"]["spec"]["secretBackend"]["externalSecret"]["name"]
    database = of_kind(overlay, "Cluster")["postgresql"]["spec"]["bootstrap"]["initdb"]["secret"]["name"]
    yield from ((broker, key) for key in ("username", "password", "default_user.conf"))
    yield from ((database, key) for key in ("username", "password"))


def test_the_files_of_the_secrets_are_the_ones_that_are_made(tmp_path: Path) -> None:
    told = yaml.safe_load((FOLDER / "secrets" / "kustomization.yaml").read_text())["secretGenerator"]
    files = {file for secret in told for file in secret["files"]}
    assert all(file.startswith(f"{secret['name']}/") for secret in told for file in secret["files"])
    assert files == set(Secrets(tmp_path, Hosts(), None).names()) - {"grafana/password"}


def test_the_job_finds_its_secrets_where_the_command_looks() -> None:
    sources = pods("prod")["provision"]["spec"]["volumes"][0]["projected"]["sources"]
    paths = {item["path"] for source in sources for item in source["secret"]["items"]}
    expected = {f"provision/{server}-url" for server in ("amqp", "management", "database")} | {"edge/amqp-url"}
    assert paths == expected | {f"{service}/{kind}-url" for service in BUSINESS for kind in ("amqp", "database")}
    [secrets, kept, _] = pods("prod")["backup"]["spec"]["volumes"]
    for_backups = {item["path"] for source in secrets["projected"]["sources"] for item in source["secret"]["items"]}
    assert for_backups == paths - {"edge/amqp-url"}
    assert kept["persistentVolumeClaim"]["claimName"] in of_kind("prod", "PersistentVolumeClaim")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_containers_may_do_nothing_but_their_work(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True, name
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        for container in pod["spec"]["containers"]:
            rights = container["securityContext"]
            assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False), name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"].keys() == {"requests", "limits"}, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_behind_a_network_policy_and_every_policy_is_about_pods(overlay: str) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(overlay).values()]
    of_the_operators = [{"app.kubernetes.io/name": "rabbitmq"}, {"cnpg.io/cluster": "postgresql"}]
    policies = of_kind(overlay, "NetworkPolicy")
    both_ways = policies["everybody"]["spec"]
    assert both_ways["policyTypes"] == ["Ingress", "Egress"]
    assert all(both_ways["podSelector"]["matchLabels"].items() <= there.items() for there in labels)
    for selector in selectors(list(policies.values())):
        assert any(selector.items() <= there.items() for there in labels + of_the_operators), selector


def selectors(where: Any) -> Iterator[dict[str, str]]:
    """Every selector of pods, however deep."""
    if isinstance(where, dict):
        if "podSelector" in where:
            yield where["podSelector"]["matchLabels"]
        where = list(where.values())
    for within in where if isinstance(where, list) else ():
        yield from selectors(within)


def test_production_survives_the_loss_of_a_node() -> None:
    assert of_kind("prod", "RabbitmqCluster")["rabbitmq"]["spec"]["replicas"] == 3
    assert of_kind("prod", "Cluster")["postgresql"]["spec"]["instances"] == 3
    assert of_kind("prod", "HorizontalPodAutoscaler")["edge"]["spec"]["minReplicas"] >= 2
    assert all(scaled["spec"]["minReplicaCount"] >= 2 for scaled in of_kind("prod", "ScaledObject").values())


def test_production_is_reached_by_https_alone() -> None:
    ingress = of_kind("prod", "Ingress")["edge"]
    [tls] = ingress["spec"]["tls"]
    assert tls["hosts"] == [rule["host"] for rule in ingress["spec"]["rules"]]
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-redirect"] == "true"
    assert ingress["metadata"]["annotations"]["cert-manager.io/cluster-issuer"]


def test_production_takes_no_test_payments() -> None:
    assert "gateway" not in pods("prod")
    assert of_kind("prod", "ConfigMap")["settings"]["data"]["HEDGEROW_GATEWAY"] == "stripe"
