"""The fields of custom resources that the manifests use, as their operators publish them.

Sources: the custom resource definitions of rabbitmq/cluster-operator, kedacore/keda, cloudnative-pg/cloudnative-pg and
prometheus-operator/prometheus-operator. A name that ends with `!` is required.
"""

from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]
"""What stands for a field's value: a type, the fields of an object, or a list with those of its items."""
_RESOURCES: Fields = {"requests": dict, "limits": dict}
_NAME: Fields = {"name!": str}

PUBLISHED: dict[tuple[str, str], Fields] = {
    ("rabbitmq.com/v1beta1", "RabbitmqCluster"): {
        "replicas": int,
        "secretBackend": {"externalSecret": {"name": str}},
        "persistence": {"storage": str},
        "resources": _RESOURCES,
        "rabbitmq": {"additionalConfig": str},
        "affinity": dict,
    },
    ("postgresql.cnpg.io/v1", "Cluster"): {
        "instances!": int,
        "bootstrap": {"initdb": {"database": str, "owner": str, "secret": _NAME, "postInitSQL": [str]}},
        "postgresql": {"parameters": dict, "synchronous": {"method!": str, "number!": int}},
        "storage": {"size": str},
        "resources": _RESOURCES,
    },
    ("keda.sh/v1alpha1", "TriggerAuthentication"): {
        "secretTargetRef": [{"parameter!": str, "name!": str, "key!": str}],
    },
    ("keda.sh/v1alpha1", "ScaledObject"): {
        "scaleTargetRef!": _NAME,
        "minReplicaCount": int,
        "maxReplicaCount": int,
        "fallback": {"failureThreshold!": int, "replicas!": int},
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": dict}},
        "triggers!": [{"type!": str, "metadata!": dict, "metricType": str, "authenticationRef": _NAME}],
    },
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "selector!": dict,
        "podMetricsEndpoints": [
            {
                "port": str,
                "interval": str,
                "relabelings": [{"sourceLabels": [str], "targetLabel": str, "replacement": str}],
            }
        ],
    },
}


def problems(value: Any, published: Any, at: str = "spec") -> list[str]:
    """What the operator would refuse or ignore."""
    if isinstance(published, type):
        return [] if isinstance(value, published) else [f"{at} is no {published.__name__}"]
    if isinstance(published, list):
        return [
            problem for number, item in enumerate(value) for problem in problems(item, published[0], f"{at}[{number}]")
        ]
    fields = {name.rstrip("!"): within for name, within in published.items()}
    missing = [f"{at}.{name[:-1]} is missing" for name in published if name.endswith("!") and name[:-1] not in value]
    unknown = [f"{at}.{name} is unknown" for name in value if name not in fields]
    known = (problems(value[name], within, f"{at}.{name}") for name, within in fields.items() if name in value)
    return missing + unknown + [problem for found in known for problem in found]
