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
        edge = str(runtime(state)["edge"])
        told = command.environment(edge, state.read("admin.json"))
    except Failure as failure:
        sys.exit(str(failure))
    sys.exit(subprocess.run(command.asking(edge, *sys.argv[1:]), cwd=state.folder, env=told).returncode)
