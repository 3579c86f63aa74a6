"""The overlays as `kubectl kustomize` renders them, for as much of kustomize as they use; anything else is refused.

Names of generated objects get no hash of their content here, and Secrets no content.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from infra.launcher.state import REPOSITORY

FOLDER = REPOSITORY / "infra" / "kubernetes"
OVERLAYS = ("dev", "prod")
Object = dict[str, Any]
_CLUSTER_WIDE = {"Namespace"}


@cache
def rendered(overlay: str) -> list[Object]:
    """Every object of an overlay."""
    return list(_built(FOLDER / "overlays" / overlay))


def of_kind(overlay: str, kind: str) -> dict[str, Object]:
    """The objects of a kind by name."""
    return {made["metadata"]["name"]: made for made in rendered(overlay) if made["kind"] == kind}


def _built(folder: Path) -> Iterator[Object]:
    [told] = _read(folder / "kustomization.yaml")
    assert (told.pop("apiVersion"), told.pop("kind")) == ("kustomize.config.k8s.io/v1beta1", "Kustomization")
    namespace, patches, images = told.pop("namespace"), told.pop("patches", ()), told.pop("images", ())
    told.pop("generatorOptions", None)
    made: list[Object] = []
    for resource in told.pop("resources", ()):
        place = folder / resource
        made += _built(place) if place.is_dir() else _read(place)
    made += map(_secret, told.pop("secretGenerator", ()))
    made += map(_settings, told.pop("configMapGenerator", ()))
    assert not told, f"{folder}: the tests do not know {sorted(told)}"
    for thing in made:
        if thing["kind"] not in _CLUSTER_WIDE:
            thing["metadata"]["namespace"] = namespace
    for patch in patches:
        _patch(made, patch)
    for image in images:
        _tag(made, image)
    yield from made


def _read(file: Path) -> Iterator[Object]:
    documents: Iterator[Object] = yaml.load_all(file.read_text(), yaml.CSafeLoader)
    yield from documents


def _secret(told: Object) -> Object:
    files = [Path(file) for file in told["files"]]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": told.get("type", "Opaque"),
        "metadata": {"name": told["name"]},
        "data": {file.name: "" for file in files},
    }


def _settings(told: Object) -> Object:
    settings = dict(literal.split("=", 1) for literal in told["literals"])
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": told["name"]}, "data": settings}


def _patch(made: list[Object], told: Object) -> None:
    assert told["target"].keys() == {"kind"}
    meant = [thing for thing in made if thing["kind"] == told["target"]["kind"]]
    assert meant, f"there is no {told['target']['kind']} to patch"
    for operation in yaml.safe_load(told["patch"]):
        for thing in meant:
            _operate(thing, operation["op"], operation["path"], operation.get("value"))


def _operate(thing: Object, operation: str, path: str, value: object) -> None:
    """A JSON patch (RFC 6902): what is replaced or removed must be there."""
    *parents, last = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    within: Any = thing
    for step in parents:
        within = within[int(step) if isinstance(within, list) else step]
    key = int(last) if isinstance(within, list) else last
    assert operation in ("add", "replace", "remove")
    if operation != "add":
        assert within[key] is not None
    if operation == "remove":
        del within[key]
    else:
        within[key] = value


def _tag(made: list[Object], image: Object) -> None:
    for container in _containers(made):
        if container["image"] == image["name"]:
            container["image"] = f"{image['name']}:{image['newTag']}"


def _containers(made: list[Object]) -> Iterator[Object]:
    for thing in made:
        yield from pod_of(thing).get("spec", {}).get("containers", ())


def pod_of(thing: Object) -> Object:
    """The pod template of a workload, a CronJob's too; nothing for what is no workload."""
    spec: Object = thing.get("spec", {})
    template: Object = spec.get("jobTemplate", {}).get("spec", spec).get("template", {})
    return template


def containers(overlay: str) -> dict[str, Object]:
    """The containers of an overlay by name."""
    return {container["name"]: container for container in _containers(rendered(overlay))}
