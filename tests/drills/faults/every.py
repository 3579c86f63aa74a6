"""Every fault by its name."""

from tests.drills.faults import Fault, broker, crashes, database, gateway, messages, processes

FAULTS: dict[str, Fault] = {
    fault.name: fault for module in (processes, broker, database, messages, gateway, crashes) for fault in module.FAULTS
}
TOGETHER = [fault for fault in FAULTS.values() if not fault.needs_own_servers and fault.build is None]
"""Those that may rage at once on servers that others use, too."""
