"""What the release before this one wrote in the clear is sealed.

Promise: it is done before an instance serves, and again every minute, since older instances may run beside it for a
while. A release that no such row can meet any more may drop this and the columns.
"""

from broker.telemetry import log
from broker.transaction import Transaction
from contracts.base import Address
from workers.users import profiles, store
from workers.users.profiles import Profile
from workers.users.tables import UserRow


async def seal_some(tx: Transaction) -> bool:
    """Seal a hundred users, and whatever waits to be mailed; whether there may be more."""
    for row in await store.addressed_in_the_clear(tx.session):
        row.lookup, row.email = tx.people.lookup(row.email or ""), None
    users = await store.users_in_the_clear(tx.session, 100)
    sealed = [await _seal(tx, user) for user in users]
    await tx.session.flush()
    return any(sealed)


async def _seal(tx: Transaction, user: UserRow) -> bool:
    email, name = user.email or "", user.name or ""
    key = await tx.people.add(user.id, known_by=email)
    if key is None:
        log.error("a user who was written in the clear has the address of another one, and stays so", user=str(user.id))
        return False
    address = Address.model_validate(user.address) if user.address else None
    user.personal = profiles.sealed(key, Profile(email=email, name=name, address=address))
    user.email = user.name = user.address = None
    return True
