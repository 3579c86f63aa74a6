"""`grant` and `revoke`: the accounts of a plug-in that is not trusted with everything.

Promise: they are told in the same words, whether the servers are those of `./justw up` or of a platform in containers.
"""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra.launcher.provision import Servers

_MORE = (("hears", "events"), ("commands", "commands of others"), ("asks", "operations of others"))


def add_commands(commands: "argparse._SubParsersAction[Any]") -> list[argparse.ArgumentParser]:
    """Have the command line know both."""
    grant = commands.add_parser("grant", help="make a plug-in's accounts, with only the rights that are named")
    for option, what in _MORE:
        grant.add_argument(f"--{option}", action="append", default=[], metavar="PATTERN", help=f"{what}: orders.#")
    grant.add_argument("--routes", action="append", default=[], metavar="/PREFIX", help="below what its paths are")
    grant.add_argument("--renew", action="store_true", help="give a new password, and the rights that are named now")
    revoke = commands.add_parser("revoke", help="take a plug-in's accounts back")
    revoke.add_argument("--drop-data", action="store_true", help="and its tables and queues with what is in them")
    for command in (grant, revoke):
        command.add_argument("name", help="the plug-in's")
    return [grant, revoke]


def grant_or_revoke(servers: "Servers", arguments: argparse.Namespace) -> None:
    """Do what the command line says, and tell what comes next. Raises `Failure`."""
    from infra.launcher.grants import Grant, grant, revoke
    from infra.launcher.rights import Dealings

    name = arguments.name
    if arguments.command == "revoke":
        revoke(servers, name, drop_data=arguments.drop_data)
        print(f"{name} can't log in any more, and its routes are free.")
        if not arguments.drop_data:
            print(f"Its tables and queues stay, and queues keep collecting: revoke {name} --drop-data ends that.")
        return
    dealings = Dealings(tuple(arguments.hears), tuple(arguments.commands), tuple(arguments.asks))
    accounts = grant(servers, name, Grant(dealings, tuple(arguments.routes)), renew=arguments.renew)
    if accounts is None:
        print(f"{name} has its accounts already; --renew gives a new password, and the rights that are named with it.")
        return
    print(f"HEDGEROW_AMQP_URL='{accounts.amqp_url}'")
    print(f"HEDGEROW_DATABASE_URL='{accounts.database_url}'")
    print(
        f"\nThis is shown once. Set both where {name} runs, and start it there (docs/plug-ins.md); it is seen at once."
    )
