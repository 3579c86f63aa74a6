"""Every fault by its name."""

from tests.drills.faults import Fault, broker, crashes, database, gateway, messages, processes

FAULTS: dict[str, Fault] = {
    fault.name: fault for module in (processes, broker, database, messages, gateway, crashes) for fault in module.FAULTS
}
AT_ONCE = [fault for fault in FAULTS.values() if fault.build is None]
"""Those that may rage at once."""
TOGETHER = [fault for fault in AT_ONCE if not fault.needs_own_servers]
"""Of these, those that may do it to servers that others use, too."""
