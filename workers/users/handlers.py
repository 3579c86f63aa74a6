"""What the users service answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from broker.composing import part
from broker.ids import new_id
from broker.lane import Ask
from broker.reader import Reader
from broker.service import Http, Service
from broker.telemetry import log
from broker.transaction import Database, Transaction
from broker.vault import Vault
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
    GetStreamTicket,
    GetUser,
    Jwks,
    ListUsers,
    LogIn,
    LogOut,
    Password,
    RefreshSession,
    RegisterUser,
    RequestPasswordReset,
    ResetPassword,
    SuspendUser,
    Ticket,
    Tokens,
    TokensRevoked,
    User,
    UserCreated,
    UserErased,
    VerifyEmail,
    account_suspended,
    bad_credentials,
    bad_refresh_token,
    email_taken,
    no_such_user,
    not_yourself,
    token_not_valid,
)
from workers.users import mailing, profiles, revoking, sealing, store
from workers.users.mailing import Mailer
from workers.users.passwords import PasswordHash, Passwords
from workers.users.profiles import Profile
from workers.users.rules import CUSTOMER, STAFF, Verdict, judged, normalised, profile_changes
from workers.users.store import KnownPassword
from workers.users.tables import UserRow
from workers.users.tokens import Signer, fresh_token

REREAD_SECONDS = 5.0
MAIL_SECONDS = 1.0
SEAL_SECONDS = 60.0
service = Service("users", says=(TokensRevoked, UserCreated, UserErased), migrations="workers.users.migrations")


class Credentials(Message):
    """Who the first staff user is."""

    email: Email
    password: Password


@dataclass(frozen=True)
class FirstStaff:
    """What the operator wants to be there from the start, if anything."""

    credentials: Credentials | None = None


async def hash_password(ask: RegisterUser | ResetPassword, passwords: Passwords) -> PasswordHash:
    """Before the transaction, so that no database connection waits for it."""
    return await passwords.hash(ask.password)


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


async def verify_password(ask: LogIn, reader: Reader, vault: Vault, passwords: Passwords) -> KnownPassword | Refusal:
    """Before the transaction, so that no database connection waits for it. An unknown address is refused like a wrong
    password, in the same words after the same work."""
    found = await store.credentials(reader, vault.lookup(normalised(ask.email)))
    right = await passwords.verify(ask.password, found.password_hash if found else None)
    return found if found and right else bad_credentials()


@service.answers(
    LogIn, http=Http("POST", "/sessions", status=201, who="anyone", limit="credentials"), first=verify_password
)
async def log_in(
    ask: LogIn, known: KnownPassword, tx: Transaction, passwords: Passwords, signer: Signer
) -> Tokens | Refusal:
    """The user stays locked until the session is there, so that whoever ends all sessions ends this one, too."""
    user = await store.locked_user(tx.session, known.user_id)
    if user is None or user.password_hash != known.password_hash:
        return bad_credentials()
    if user.suspended_at is not None:
        return account_suspended()
    if passwords.is_outdated(user.password_hash):
        await store.set_password_hash(tx.session, user.id, await passwords.hash(ask.password))
    now, refresh_token = datetime.now(UTC), fresh_token()
    session = await store.begin_session(tx.session, user.id, refresh_token, now)
    return signer.tokens(user, session=session, refresh_token=refresh_token, now=now)


@service.answers(RefreshSession, http=Http("POST", "/sessions/refresh", status=201, who="anyone"))
async def refresh_session(ask: RefreshSession, tx: Transaction, signer: Signer) -> Tokens | Refusal:
    """Spend a refresh token for its successor, as rules.py judges it."""
    family = await store.locked_family(tx.session, ask.refresh_token)
    if family is None:
        return bad_refresh_token()
    session, token = family
    now, successors = datetime.now(UTC), signer.successors(ask.refresh_token)
    successor = successors[0]
    match judged(ended_at=session.ended_at, expires_at=token.expires_at, spent_at=token.spent_at, now=now):
        case Verdict.REFUSE:
            return bad_refresh_token()
        case Verdict.END_FAMILY:
            await revoking.end_session(tx, session.id)
            tx.keep()
            return bad_refresh_token()
        case Verdict.ROTATE:
            await store.rotate(tx.session, token, successor, now)
        case Verdict.REPEAT:
            successor = await store.known_token(tx.session, successors) or successor
    user = await store.owner(tx.session, session)
    if user.suspended_at is not None or await tx.people.key(user.id) is None:
        return bad_refresh_token()
    return signer.tokens(user, session=session.id, refresh_token=successor, now=now)


@service.answers(GetStreamTicket, http=Http("POST", "/stream-tickets", status=201))
async def get_stream_ticket(ask: GetStreamTicket, tx: Transaction, caller: Caller, signer: Signer) -> Ticket | Refusal:
    user = await store.user_by_id(tx.session, caller.id)
    if user is None or caller.session is None:
        return unauthenticated("This account is gone.")
    return signer.ticket(user, session=caller.session, now=datetime.now(UTC))


@service.answers(LogOut, http=Http("DELETE", "/sessions/current", status=204))
async def log_out(ask: LogOut, tx: Transaction, caller: Caller) -> None:
    """No token of this log-in works any more."""
    await revoking.end_session(tx, caller.session)


@service.answers(VerifyEmail, http=Http("POST", "/email-verifications", status=204, who="anyone"))
async def verify_email(ask: VerifyEmail, tx: Transaction) -> Refusal | None:
    user = await mailing.redeem(tx, "verification", ask.token)
    if user is None:
        return token_not_valid()
    user.email_verified_at = datetime.now(UTC)
    return None


@service.answers(
    RequestPasswordReset, http=Http("POST", "/password-resets", status=204, who="anyone", limit="credentials")
)
async def request_password_reset(ask: RequestPasswordReset, tx: Transaction) -> None:
    """Whether somebody has the address is looked up when the mail is written: here, nothing could betray it."""
    await mailing.want(tx, "password-reset", normalised(ask.email))


@service.answers(
    ResetPassword,
    http=Http("PUT", "/password-resets/{token}", status=204, who="anyone", limit="credentials"),
    first=hash_password,
)
async def reset_password(ask: ResetPassword, tx: Transaction, password_hash: PasswordHash) -> Refusal | None:
    """Who has the mail has the address, too."""
    user = await mailing.redeem(tx, "password-reset", ask.token)
    if user is None:
        return token_not_valid()
    user.password_hash, user.email_verified_at = password_hash, datetime.now(UTC)
    await revoking.end_all_sessions(tx, user)
    if profile := await profiles.of(tx, user):
        await mailing.want(tx, "password-changed", profile.email)
    return None


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
