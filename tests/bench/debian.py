"""Programs of others: from the PATH, else unpacked from Debian's packages without installing them."""

import os
import shutil
import subprocess
from dataclasses import dataclass

from infra.launcher.failure import Failure
from infra.launcher.packages import can_unpack, unpack
from tests.bench.ground import FOLDER


@dataclass(frozen=True)
class Packaged:
    """A program, and the packages that it needs where it is not installed, its own first."""

    name: str
    packages: tuple[str, ...]

    def found(self) -> tuple[str, dict[str, str]]:
        """Where it is, and what its environment needs. Raises `Failure`."""
        if installed := shutil.which(self.name):
            return installed, {}
        if not can_unpack():
            own = self.packages[0]
            raise Failure(f"The bench needs {self.name}: install {own} (with brew, {own.removesuffix('-client')}).")
        root = unpack(self.name, FOLDER / self.name, self.packages)
        return str(root / "usr/bin" / self.name), {"LD_LIBRARY_PATH": str(next(root.glob("usr/lib/*-linux-gnu*")))}

    def version(self, *, told_by: str) -> str:
        """What it says of itself."""
        program, environment = self.found()
        told = subprocess.run([program, told_by], env=os.environ | environment, capture_output=True, text=True)
        return told.stdout.split(" [")[0].removeprefix(f"{self.name} ").strip()
