"""`grant` and `revoke`: the accounts of a plug-in that is not trusted with everything."""

import argparse

from infra.launcher.grants import Grant, grant, revoke
from infra.launcher.provision import servers_of
from infra.launcher.rights import Dealings
from infra.launcher.state import State
from infra.launcher.status import runtime


def grant_or_revoke(state: State, arguments: argparse.Namespace) -> int:
    """Do what the command line says, and tell what comes next. Raises `Failure`."""
    servers, name = servers_of(runtime(state)), arguments.name
    if arguments.command == "revoke":
        revoke(servers, name, drop_data=arguments.drop_data)
        print(f"{name} can't log in any more, and its routes are free.")
        if not arguments.drop_data:
            print(
                f"Its tables and queues stay, and queues keep collecting: ./justw revoke {name} --drop-data ends that."
            )
        return 0
    dealings = Dealings(tuple(arguments.hears), tuple(arguments.commands), tuple(arguments.asks))
    accounts = grant(servers, name, Grant(dealings, tuple(arguments.routes)), renew=arguments.renew)
    if accounts is None:
        print(f"{name} has its accounts already; --renew gives a new password, and the rights that are named with it.")
        return 0
    print(f"HEDGEROW_AMQP_URL='{accounts.amqp_url}'")
    print(f"HEDGEROW_DATABASE_URL='{accounts.database_url}'")
    print(
        f"\nThis is shown once. Set both where {name} runs, and start it there (docs/plug-ins.md); it is seen at once."
    )
    return 0
