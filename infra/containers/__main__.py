"""`python -m infra.containers COMMAND`: what a platform in containers needs beside its services."""

import argparse
import os
import sys
from pathlib import Path

from infra.containers.health import NotWellError, check
from infra.launcher.failure import Failure
from infra.launcher.granting import add_commands, grant_or_revoke

FOLDER = Path("/secrets")


def main() -> int:
    """Run one command; what can go wrong ends in one sentence on the standard error and the exit code 1."""
    arguments = parser().parse_args()
    try:
        if arguments.command in ("healthy", "alive"):
            _look(arguments.url, without_broker=arguments.command == "alive")
        else:
            _run(arguments)
    except (NotWellError, Failure) as failure:
        print(f"hedgerow: {failure}", file=sys.stderr)
        return 1
    return 0


def _look(url: str | None, *, without_broker: bool) -> None:
    check(url, metrics_port=os.environ.get("HEDGEROW_METRICS_PORT", ""), without_broker=without_broker)


def _run(arguments: argparse.Namespace) -> None:
    match arguments.command:
        case "secrets":
            from infra.containers.profiles import check_profiles
            from infra.containers.secrets import Hosts, make_secrets

            check_profiles(arguments.profiles)
            hosts = Hosts(arguments.rabbitmq, arguments.postgresql, arguments.redis)
            made = make_secrets(arguments.folder, hosts, arguments.given)
            print("Made " + ", ".join(made) + "." if made else "All secrets are there.")
        case "backup":
            from infra.containers.keeping import back_up

            back_up(arguments.folder, arguments.to)
        case "restore":
            from infra.containers.keeping import restore

            restore(arguments.folder, arguments.backup, arguments.keys)
        case "addresses":
            from infra.containers.addresses import addresses

            print("\n".join(addresses(arguments.folder)))
        case "grant" | "revoke":
            from infra.containers.provisioning import administrator

            grant_or_revoke(administrator(arguments.folder), arguments)
        case _:
            from infra.containers.provisioning import provision

            provision(arguments.folder)
            print("Logins, roles, exchanges and tables are as this version needs them.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="infra.containers", description="The platform in containers.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    secrets = commands.add_parser("secrets", help="make the secrets that are missing")
    secrets.add_argument("--given", type=Path, metavar="FOLDER", help="files of your own to take in their place")
    secrets.add_argument("--profiles", default="", metavar="NAMES", help="that were asked for, to be checked")
    for server in ("rabbitmq", "postgresql", "redis"):
        secrets.add_argument(
            f"--{server}", default=server, metavar="HOST", help=f"where {server} is (default: {server})"
        )
    addresses = commands.add_parser("addresses", help="print what ./justw up needs to use these servers")
    provision = commands.add_parser("provision", help="make logins, roles, schemas, exchanges and tables")
    backup = commands.add_parser("backup", help="write database and broker definitions to a folder")
    backup.add_argument("to", type=Path, help="a new folder, or one in which to make a new one")
    restore = commands.add_parser("restore", help="put a backup in the place of what is there")
    restore.add_argument("backup", type=Path, help="its folder")
    restore.add_argument("--keys", type=Path, metavar="FILE", help="of people (default: beside the backup)")
    for command in (secrets, addresses, provision, backup, restore, *add_commands(commands)):
        command.add_argument("folder", type=Path, nargs="?", default=FOLDER, help=f"of the secrets (default: {FOLDER})")
    healthy = commands.add_parser("healthy", help="end with 0 if the process of this container is well")
    healthy.add_argument("url", nargs="?", help="what must answer (default: the page of metrics)")
    alive = commands.add_parser("alive", help="the same, also while the broker is away")
    alive.set_defaults(url=None)
    return parser


if __name__ == "__main__":
    sys.exit(main())
