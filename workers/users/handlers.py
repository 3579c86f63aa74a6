"""What the users service answers and hears, beside signing in (signing_in.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from broker.composing import part
from broker.ids import new_id
from broker.lane import Ask
from broker.service import Http
from broker.telemetry import log
from broker.transaction import Database, Transaction
from contracts.base import Caller, Email, FieldError, Message, Page, Refusal, invalid_request, unauthenticated
from contracts.orders import ListOrders, OrderConfirmed, OrderRefunded, OrderShipped
from contracts.tokens import JWKS_PATH, Revocations
from contracts.users import (
    AssignRoles,
    ChangeMe,
    EraseMe,
    GetKeys,
    GetMe,
    GetRevocations,
    GetUser,
    Jwks,
    ListUsers,
    Password,
    RegisterUser,
    SuspendUser,
    User,
    UserCreated,
    UserErased,
    email_taken,
    no_such_user,
    not_yourself,
)
from workers.users import mailing, profiles, revoking, sealing, store
from workers.users.mailing import Mailer
from workers.users.passwords import PasswordHash, Passwords
from workers.users.profiles import Profile
from workers.users.rules import CUSTOMER, STAFF, normalised, profile_changes
from workers.users.service import service
from workers.users.signing_in import hash_password
from workers.users.tables import UserRow
from workers.users.tokens import Signer

__all__ = ["service"]

REREAD_SECONDS = 5.0
MAIL_SECONDS = 1.0
SEAL_SECONDS = 60.0


class Credentials(Message):
    """Who the first staff user is."""

    email: Email
    password: Password


@dataclass(frozen=True)
class FirstStaff:
    """What the operator wants to be there from the start, if anything."""

    credentials: Credentials | None = None


@service.answers(
    RegisterUser, http=Http("POST", "/users", status=201, who="anyone", limit="credentials"), first=hash_password
)
async def register_user(ask: RegisterUser, tx: Transaction, password_hash: PasswordHash) -> User | Refusal:
    profile = Profile(email=normalised(ask.email), name=ask.name)
    user = await _opened(tx, profile, password_hash, CUSTOMER)
    if user is None:
        return email_taken()
    await mailing.want(tx, "verification", profile.email)
    return _seen(user, profile)


@service.every(seconds=MAIL_SECONDS)
async def send_mails(database: Database, mailer: Mailer, ask: Ask) -> bool:
    return await mailing.send_next(database, mailer, ask)


@service.hears(OrderConfirmed, ordered=False)
@service.hears(OrderShipped, ordered=False)
@service.hears(OrderRefunded, ordered=False)
async def tell_the_customer(news: OrderConfirmed | OrderShipped | OrderRefunded, tx: Transaction) -> None:
    await mailing.tell(tx, news)


@service.answers(GetMe, http=Http("GET", "/users/me"))
async def get_me(question: GetMe, tx: Transaction, caller: Caller) -> User | Refusal:
    user = await store.user_by_id(tx.session, caller.id)
    return await _shown(tx, user) or unauthenticated("This account is gone.")


@service.answers(ChangeMe, http=Http("PATCH", "/users/me"))
async def change_me(ask: ChangeMe, tx: Transaction, caller: Caller) -> User | Refusal:
    changes = profile_changes(ask)
    if isinstance(changes, Refusal):
        return changes
    user = await store.locked_user(tx.session, caller.id)
    profile = await profiles.of(tx, user) if user else None
    if user is None or profile is None:
        return unauthenticated("This account is gone.")
    changed = Profile.model_validate({**profile.model_dump(), **changes})
    user.personal = profiles.sealed(tx.people.seen[user.id], changed)
    return _seen(user, changed)


@service.answers(EraseMe, http=Http("DELETE", "/users/me", status=202))
async def erase_me(ask: EraseMe, tx: Transaction, caller: Caller, mailer: Mailer) -> Refusal | None:
    """What the key has sealed, in backups too, is gone with it; the others hear of it and destroy theirs."""
    user = await store.locked_user(tx.session, caller.id)
    profile = await profiles.of(tx, user) if user else None
    if user is None or profile is None:
        return unauthenticated("This account is gone.")
    await revoking.end_all_sessions(tx, user)
    await store.forget_user(tx.session, user, tx.people.lookup(profile.email))
    await tx.people.erase(user.id)
    await mailer.post.forget(profile.email)
    tx.emit(UserErased(user_id=user.id))
    return None


# --- what staff does with accounts ------------------------------------------------------------------------------------


@service.answers(GetUser, http=Http("GET", "/users/{id}", who="staff"))
async def get_user(question: GetUser, tx: Transaction) -> User | Refusal:
    return await _shown(tx, await store.user_by_id(tx.session, question.id)) or no_such_user()


@service.answers(ListUsers, http=Http("GET", "/users", who="staff"))
async def list_users(question: ListUsers, tx: Transaction) -> Page[User] | Refusal:
    try:
        before = None if question.cursor is None else UUID(question.cursor)
    except ValueError:
        return invalid_request("", FieldError(pointer="/cursor", detail="Not a cursor of this list."))
    if question.email is not None:
        user = await store.user_by_id(tx.session, await tx.people.find(tx.people.lookup(normalised(question.email))))
        known = await _shown(tx, user) if user and (before is None or user.id < before) else None
        return Page(items=(known,) if known else ())
    found = await store.users_before(tx.session, before, question.limit + 1)
    following = str(found[question.limit - 1].id) if len(found) > question.limit else None
    known_as = await profiles.of_all(tx, found[: question.limit])
    return Page(items=tuple(_seen(user, known_as[user.id]) for user in found if user.id in known_as), next=following)


@service.answers(SuspendUser, http=Http("PUT", "/users/{id}/suspension", who="staff"))
async def suspend_user(ask: SuspendUser, tx: Transaction, caller: Caller) -> User | Refusal:
    user = await _somebody_else(ask.id, tx, caller)
    if isinstance(user, Refusal):
        return user
    if ask.suspended and user.suspended_at is None:
        user.suspended_at = datetime.now(UTC)
        await revoking.end_all_sessions(tx, user)
    elif not ask.suspended:
        user.suspended_at = None
    return await _shown(tx, user) or no_such_user()


@service.answers(AssignRoles, http=Http("PUT", "/users/{id}/roles", who="staff"))
async def assign_roles(ask: AssignRoles, tx: Transaction, caller: Caller) -> User | Refusal:
    user = await _somebody_else(ask.id, tx, caller)
    if isinstance(user, Refusal):
        return user
    if set(ask.roles) != set(user.roles):
        user.roles = sorted(ask.roles)
        await revoking.void_access_tokens(tx, user)
    return await _shown(tx, user) or no_such_user()


async def _somebody_else(id: UUID, tx: Transaction, caller: Caller) -> UserRow | Refusal:
    """This user, locked: nobody shuts themselves out."""
    if id == caller.id:
        return not_yourself()
    return await store.locked_user(tx.session, id) or no_such_user()


# --- what edges ask ---------------------------------------------------------------------------------------------------


@service.answers(GetRevocations)
async def get_revocations(question: GetRevocations, tx: Transaction) -> Revocations:
    return await revoking.recent(tx)


@service.every(seconds=revoking.KEPT_FOR.total_seconds())
async def forget_old_revocations(tx: Transaction) -> None:
    await store.forget_revocations(tx.session, datetime.now(UTC) - revoking.KEPT_FOR)


service.composes(
    "users.get-my-overview.v1",
    http=Http("GET", "/users/me/overview"),
    summary="The caller's profile and last orders.",
    profile=part(GetMe),
    orders=part(ListOrders, limit=5),
)


@service.answers(GetKeys, http=Http("GET", JWKS_PATH, who="anyone"))
async def get_keys(question: GetKeys, signer: Signer) -> Jwks:
    return signer.keys()


@service.every(seconds=REREAD_SECONDS)
async def take_up_new_keys(signer: Signer) -> None:
    """So that keys change without a restart. A file that makes no sense is complained of; the keys stay as they are."""
    signer.reread()


@service.at_start
async def forget_who_was_erased(tx: Transaction) -> None:
    """In a copy that was restored, there are people whose keys were destroyed again (broker/erasures.py)."""
    await store.forget_erased_users(tx.session)


@service.at_start
async def seal_everything(tx: Transaction) -> None:
    while await sealing.seal_some(tx):
        pass


@service.every(seconds=SEAL_SECONDS)
async def seal_what_came_in_the_clear(tx: Transaction) -> bool:
    return await sealing.seal_some(tx)


@service.at_start
async def ensure_first_staff_user(tx: Transaction, wanted: FirstStaff, passwords: Passwords) -> None:
    """An account that is there already stays as it is: its password or its roles may have been changed on purpose."""
    if wanted.credentials is None:
        return
    profile = Profile(email=normalised(wanted.credentials.email), name="Staff")
    user = await store.user_by_id(tx.session, await tx.people.find(tx.people.lookup(profile.email)))
    if user is None:
        password_hash = await passwords.hash(wanted.credentials.password)
        await _opened(tx, profile, password_hash, STAFF)
    elif not set(STAFF) <= set(user.roles):
        log.warning("the first staff user's account exists, but is not a staff account", user=str(user.id))


async def _opened(
    tx: Transaction, profile: Profile, password_hash: PasswordHash, roles: Sequence[str]
) -> UserRow | None:
    """A new user, or None where the address is taken, also by somebody registering at this moment."""
    id = new_id()
    key = await tx.people.add(id, known_by=profile.email)
    if key is None:
        return None
    user = UserRow(
        id=id,
        personal=profiles.sealed(key, profile),
        password_hash=password_hash,
        roles=list(roles),
        created_at=datetime.now(UTC),
    )
    tx.session.add(user)
    tx.emit(UserCreated(user_id=user.id, created_at=user.created_at))
    return user


async def _shown(tx: Transaction, user: UserRow | None) -> User | None:
    """What of a user is shown; nothing of who is erased."""
    profile = await profiles.of(tx, user) if user else None
    return _seen(user, profile) if user and profile else None


def _seen(user: UserRow, profile: Profile) -> User:
    return User(
        id=user.id,
        email=profile.email,
        name=profile.name,
        roles=tuple(user.roles),
        suspended=user.suspended_at is not None,
        email_verified=user.email_verified_at is not None,
        address=profile.address,
        created_at=user.created_at,
    )
