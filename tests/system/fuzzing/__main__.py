"""`python -m tests.system.fuzzing` asks the platform that runs here; its arguments are those of `schemathesis run`."""

import subprocess
import sys

from infra.launcher.failure import Failure
from infra.launcher.state import State
from infra.launcher.status import runtime
from tests.system.fuzzing import command

if __name__ == "__main__":
    try:
        state = State.here()
        found = runtime(state)
        edge, certificate = str(found["edge"]), str(found.get("certificate") or "")
        told = command.environment(edge, state.read("admin.json"), certificate=certificate)
    except Failure as failure:
        sys.exit(str(failure))
    asking = command.asking(edge, *sys.argv[1:], certificate=certificate)
    sys.exit(subprocess.run(asking, cwd=state.folder, env=told).returncode)
