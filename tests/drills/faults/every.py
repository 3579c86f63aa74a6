"""Every fault by its name."""

from tests.drills.faults import Fault, broker, database, messages, processes

FAULTS: dict[str, Fault] = {
    fault.name: fault for module in (processes, broker, database, messages) for fault in module.FAULTS
}
