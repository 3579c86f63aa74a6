"""`up` and `down`: the platform in the foreground until Ctrl-C, or in the background until somebody stops it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection

from infra.launcher.certificate import edge_certificate
from infra.launcher.failure import Failure
from infra.launcher.leftovers import end_leftovers, is_running, wait_until
from infra.launcher.lock import launcher_lock, running_launcher
from infra.launcher.payment_gateway import stripe_settings
from infra.launcher.platform import PROFILES, Platform
from infra.launcher.plugged_in import plugged_in
from infra.launcher.progress import Progress
from infra.launcher.services import BUSINESS, edge_port
from infra.launcher.state import REPOSITORY, State


def up(
    state: State,
    progress: Progress,
    *,
    servers_only: bool = False,
    without: Collection[str] = (),
    profiles: Collection[str] = (),
    https: bool = False,
    in_background: bool = False,
) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP. Raises `Failure` when the platform can't start or runs already."""
    if unknown := sorted(set(without) - set(BUSINESS)):
        raise Failure(f"--without {unknown[0]}: there is no such service; there is {', '.join(BUSINESS)}.")
    if unknown := sorted(set(profiles) - set(PROFILES)):
        raise Failure(f"--with {unknown[0]}: there is no such profile; there is {', '.join(PROFILES)}.")
    with launcher_lock(state):
        end_leftovers(state.folder)
        certificate = None
        if not servers_only:
            edge_port()
            stripe_settings()
            certificate = edge_certificate(state, https=https)
        platform = Platform(
            state, progress, servers_only=servers_only, without=without, profiles=profiles, certificate=certificate
        )
        asyncio.run(_run(platform, when_ready=progress.fall_silent if in_background else lambda: None))
    return 0


def up_detached(state: State, progress: Progress, arguments: list[str]) -> int:
    """Start `up` in the background, repeat what it says, and return when it is ready or has failed."""
    if running_launcher(state):
        progress.say(
            "A platform is running here already: "
            + state.read("runtime.json").get("edge", "it is still starting")
            + "."
        )
        return 0
    command = [sys.executable, "-m", "infra.launcher", "up", "--in-background", *arguments]
    child = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True, stdout=subprocess.PIPE, text=True)
    try:
        # It closes its output when it is ready, and lives on.
        for line in child.stdout or ():
            progress.repeat(line.rstrip())
    except KeyboardInterrupt:
        child.terminate()
    return 0 if running_launcher(state) == child.pid else child.wait()


def down(state: State, progress: Progress) -> int:
    """Stop what runs here and wait until no process of it is left."""
    launcher = running_launcher(state)
    if launcher is None:
        ended = end_leftovers(state.folder)
        progress.say(f"Ended {ended} processes that were left behind." if ended else "Nothing is running here.")
        (state.folder / "runtime.json").unlink(missing_ok=True)
        return 0
    with progress.step("Stopping", "Everything is stopped"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(launcher, signal.SIGTERM)
        if not wait_until(lambda: not is_running(launcher), within=120):
            raise Failure(
                f"The launcher (pid {launcher}) did not stop within 120 s; see {state.logs / 'launcher.log'}."
            )
        end_leftovers(state.folder)
    for plug_in in plugged_in(state):
        progress.say(f"{plug_in.name} (pid {plug_in.pid}) still runs and waits for the platform.")
    return 0


async def _run(platform: Platform, *, when_ready: Callable[[], None]) -> None:
    ready, asked, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

    def become_ready() -> None:
        ready.set()
        when_ready()

    work = asyncio.create_task(_run_until_cancelled(platform, become_ready))

    def stop() -> None:
        # Asked twice, it goes on stopping: a second cancellation would interrupt the orderly end.
        if not asked.is_set():
            asked.set()
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await work
    if not ready.is_set():
        raise Failure("Stopped before it was ready.")


async def _run_until_cancelled(platform: Platform, when_ready: Callable[[], None]) -> None:
    async with platform.running():
        when_ready()
        await asyncio.Event().wait()
