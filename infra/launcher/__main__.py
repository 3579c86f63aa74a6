"""The launcher's command line; `just` is the front door to it."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infra.launcher.failure import Failure
from infra.launcher.granting import add_commands, grant_or_revoke
from infra.launcher.state import State

if TYPE_CHECKING:
    from infra.launcher.progress import Progress


def main() -> int:
    """Run one command; what a user can cause ends in one sentence on the standard error and the exit code 1."""
    arguments = _parser().parse_args()
    try:
        state = State.here()
        with state.failing_in_one_sentence():
            return _run(arguments, state)
    except Failure as failure:
        print(f"hedgerow: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(arguments: argparse.Namespace, state: State) -> int:
    """Modules are imported by the command that needs them: `status` must not wait for the database driver."""
    match arguments.command:
        case "up" | "down":
            from infra.launcher import up

            progress = _progress(state)
            if arguments.command == "down":
                return up.down(state, progress)
            if arguments.detach:
                passed_on = [f"--without={name}" for name in arguments.without]
                passed_on += [f"--with={profile}" for profile in arguments.profiles]
                passed_on += ["--servers-only"] * arguments.servers_only + ["--https"] * arguments.https
                return up.up_detached(state, progress, passed_on)
            return up.up(
                state,
                progress,
                servers_only=arguments.servers_only,
                without=arguments.without,
                profiles=arguments.profiles,
                https=arguments.https,
                in_background=arguments.in_background,
            )
        case "demo":
            from infra.launcher.demo import show_demo

            return show_demo(state)
        case "run":
            from infra.launcher.plugin import run_plugin

            return run_plugin(state, arguments.file, name=arguments.name)
        case "rotate-key":
            from infra.launcher.signing import rotate_key

            return rotate_key(state, _progress(state), leaked=arguments.leaked)
        case "rotate-master-key":
            from infra.launcher.master_key import rotate_master_key

            return rotate_master_key(state, _progress(state))
        case "backup":
            from infra.launcher.backup import back_up

            return back_up(state, _progress(state), _called_from(arguments.folder))
        case "restore":
            from infra.launcher.restore import restore

            keys = arguments.keys and _called_from(arguments.keys)
            return restore(state, _progress(state), _called_from(arguments.folder), keys)
        case "restart":
            from infra.launcher.restart import restart

            return restart(state, _progress(state), arguments.names)
        case "grant" | "revoke":
            from infra.launcher.provision import servers_of
            from infra.launcher.status import runtime

            grant_or_revoke(servers_of(runtime(state)), arguments)
            return 0
        case "logs":
            from infra.launcher.status import show_log

            return show_log(state, arguments.name, follow=arguments.follow)
        case _:
            from infra.launcher.status import show_status

            return show_status(state)


def _progress(state: State) -> "Progress":
    from infra.launcher.progress import Progress

    return Progress(state.logs / "launcher.log")


def _called_from(path: Path) -> Path:
    """A path as whoever called means it; just runs elsewhere."""
    return Path(os.environ.get("HEDGEROW_CALLED_FROM") or os.getcwd()) / path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hedgerow", description="The platform on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start the platform; Ctrl-C stops it")
    up.add_argument("--detach", action="store_true", help="return when it is ready; `down` stops it")
    up.add_argument("--servers-only", action="store_true", help="only RabbitMQ and PostgreSQL")
    up.add_argument("--without", action="append", default=[], metavar="SERVICE", help="leave it out (may be repeated)")
    up.add_argument(
        "--with", action="append", default=[], dest="profiles", metavar="PROFILE", help="also: monitoring, redis"
    )
    up.add_argument("--https", action="store_true", help="with a certificate for this machine, where none is named")
    up.add_argument("--in-background", action="store_true", help=argparse.SUPPRESS)
    commands.add_parser("down", help="stop the platform")
    commands.add_parser("demo", help="place an order and watch it")
    rotate_key = commands.add_parser("rotate-key", help="let a new key sign access tokens")
    rotate_key.add_argument("--leaked", action="store_true", help="honour none of the others any more")
    commands.add_parser("rotate-master-key", help="let a new master key wrap the keys of people")
    restart = commands.add_parser("restart", help="start services and the edge anew, one by one, while all goes on")
    restart.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    backup = commands.add_parser("backup", help="write database and broker definitions to a new folder")
    backup.add_argument("folder", type=Path, nargs="?", default="", help="default: hedgerow-TIME, here")
    restore = commands.add_parser("restore", help="put a backup in the place of what is there")
    restore.add_argument("folder", type=Path)
    restore.add_argument("--keys", type=Path, metavar="FILE", help="of people (default: beside the folder)")
    commands.add_parser("status", help="what runs here")
    run = commands.add_parser("run", help="plug in a service from one file")
    run.add_argument("file", type=Path, nargs="?")
    run.add_argument("--name", help="the service's name (default: the file's)")
    add_commands(commands)
    logs = commands.add_parser("logs", help="what a process wrote")
    logs.add_argument("name", nargs="?")
    logs.add_argument("--follow", "-f", action="store_true", help="go on until Ctrl-C")
    return parser


if __name__ == "__main__":
    sys.exit(main())
