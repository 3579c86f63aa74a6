"""Whatever is asked, the answer is one that the OpenAPI document names, and never a server error."""

import re
import subprocess
from pathlib import Path

import httpx

from tests.support.platform import Platform
from tests.system.fuzzing import command

QUICKLY = ("--seed", "1", "--max-examples", "3", "--phases", "examples,fuzzing,stateful", "--continue-on-failure")
METHODS = {"get", "post", "put", "patch", "delete"}


def test_no_server_error_no_undocumented_answer_and_no_other_form_than_documented(
    platform: Platform, tmp_path: Path
) -> None:
    """Always the same requests; `./justw fuzz` asks others, and ten times as many."""
    told = command.environment(platform.edge, platform.state.read("admin.json"))
    asking = command.asking(platform.edge, *QUICKLY)
    done = subprocess.run(asking, cwd=tmp_path, env=told, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    paths = httpx.get(f"{platform.edge}/openapi.json", trust_env=False).json()["paths"]
    # What it read the document from, it does not ask again; and streams have no end.
    left_out = {"/openapi.json", "/orders/{id}/events"}
    operations = sum(len(METHODS & item.keys()) for path, item in paths.items() if path not in left_out)
    assert re.search(rf"Tested:\s+{operations}\b", done.stdout), done.stdout
