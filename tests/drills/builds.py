"""`python -m tests.drills.builds BUILD MODULE ...`: run a module of the platform in a build that only tests have.

Such a build lacks a mechanism (`without-inbox`, ...), or has named points at which it can be made to crash. Run so, the
launcher starts its services so, too.
"""

import os
import runpy
import sys
from dataclasses import replace

from infra.launcher.program import Program
from infra.launcher.state import State
from tests.drills import crash_points
from tests.drills.faults.crashes import BUILD as CRASH_POINTS
from tests.drills.weakened import MECHANISMS
from workers.payments.choosing import DRILL

_WITHOUT = "without-"


def without(mechanism: str) -> str:
    """The name of the build that lacks a mechanism."""
    return _WITHOUT + mechanism


def command(build: str | None, *module: str) -> tuple[str, ...]:
    """The command line that runs a module in a build; without one, as it is."""
    return (sys.executable, "-m", *(() if build is None else ("tests.drills.builds", build)), *module)


def build_services(build: str) -> None:
    """Have the launcher start every service in this build."""
    from infra.launcher import services

    usual = services._module

    def built(state: State, name: str, module: str, environment: dict[str, str]) -> Program:
        program = usual(state, name, module, environment)
        return replace(program, command=command(build, module)) if name in services.BUSINESS else program

    services._module = built


def main() -> None:
    """Make the build, and become the module."""
    build, module, *arguments = sys.argv[1:]
    os.environ[DRILL] = build
    if module == "infra.launcher":
        build_services(build)
    elif build == CRASH_POINTS:
        crash_points.install(module.rpartition(".")[2])
    else:
        MECHANISMS[build.removeprefix(_WITHOUT)]()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
