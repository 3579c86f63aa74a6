"""What the users service answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from broker.composing import part
from broker.lane import Ask
from broker.reader import Reader
from broker.service import Http, Service
from broker.telemetry import log
from broker.transaction import Database, Transaction
from contracts.base import Address, Caller, Email, FieldError, Message, Page, Refusal, invalid_request, unauthenticated
from contracts.orders import ListOrders, OrderConfirmed, OrderRefunded, OrderShipped
from contracts.tokens import JWKS_PATH, Revocations
from contracts.users import (
    AssignRoles,
    ChangeMe,
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
    VerifyEmail,
    account_suspended,
    bad_credentials,
    bad_refresh_token,
    email_taken,
    no_such_user,
    not_yourself,
    token_not_valid,
)
from workers.users import mailing, revoking, store
from workers.users.mailing import Mailer
from workers.users.passwords import PasswordHash, Passwords
from workers.users.rules import CUSTOMER, STAFF, Verdict, judged, normalised, profile_changes
from workers.users.store import KnownPassword
from workers.users.tables import UserRow
from workers.users.tokens import Signer, fresh_token

REREAD_SECONDS = 5.0
MAIL_SECONDS = 1.0
service = Service("users", says=(TokensRevoked, UserCreated), migrations="workers.users.migrations")


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
    user = await _opened(tx, ask.email, ask.name, password_hash, CUSTOMER)
    if user is None:
        return email_taken()
    await mailing.want(tx, "verification", user.email)
    return _seen(user)


async def verify_password(ask: LogIn, reader: Reader, passwords: Passwords) -> KnownPassword | Refusal:
    """Before the transaction, so that no database connection waits for it. An unknown address is refused like a wrong
    password, in the same words after the same work."""
    found = await store.credentials(reader, normalised(ask.email))
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
    if user.suspended_at is not None:
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
    await mailing.want(tx, "password-changed", user.email)
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
    return _seen(user) if user else unauthenticated("This account is gone.")


@service.answers(ChangeMe, http=Http("PATCH", "/users/me"))
async def change_me(ask: ChangeMe, tx: Transaction, caller: Caller) -> User | Refusal:
    changes = profile_changes(ask)
    if isinstance(changes, Refusal):
        return changes
    user = await store.change_user(tx.session, caller.id, changes)
    return _seen(user) if user else unauthenticated("This account is gone.")


# --- what staff does with accounts ------------------------------------------------------------------------------------


@service.answers(GetUser, http=Http("GET", "/users/{id}", who="staff"))
async def get_user(question: GetUser, tx: Transaction) -> User | Refusal:
    user = await store.user_by_id(tx.session, question.id)
    return _seen(user) if user else no_such_user()


@service.answers(ListUsers, http=Http("GET", "/users", who="staff"))
async def list_users(question: ListUsers, tx: Transaction) -> Page[User] | Refusal:
    try:
        before = None if question.cursor is None else UUID(question.cursor)
    except ValueError:
        return invalid_request("", FieldError(pointer="/cursor", detail="Not a cursor of this list."))
    email = None if question.email is None else normalised(question.email)
    found = await store.users_before(tx.session, before, email, question.limit + 1)
    following = str(found[question.limit - 1].id) if len(found) > question.limit else None
    return Page(items=tuple(map(_seen, found[: question.limit])), next=following)


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
    return _seen(user)


@service.answers(AssignRoles, http=Http("PUT", "/users/{id}/roles", who="staff"))
async def assign_roles(ask: AssignRoles, tx: Transaction, caller: Caller) -> User | Refusal:
    user = await _somebody_else(ask.id, tx, caller)
    if isinstance(user, Refusal):
        return user
    if ask.roles != set(user.roles):
        user.roles = sorted(ask.roles)
        await revoking.void_access_tokens(tx, user)
    return _seen(user)


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
async def ensure_first_staff_user(tx: Transaction, wanted: FirstStaff, passwords: Passwords) -> None:
    """An account that is there already stays as it is: its password or its roles may have been changed on purpose."""
    if wanted.credentials is None:
        return
    email = normalised(wanted.credentials.email)
    user = await store.user_by_email(tx.session, email)
    if user is None:
        password_hash = await passwords.hash(wanted.credentials.password)
        await _opened(tx, email, "Staff", password_hash, STAFF)
    elif not set(STAFF) <= set(user.roles):
        log.warning("the first staff user's account exists, but is not a staff account", user=str(user.id))


async def _opened(
    tx: Transaction, email: str, name: str, password_hash: PasswordHash, roles: Sequence[str]
) -> UserRow | None:
    now = datetime.now(UTC)
    user = await store.add_user(
        tx.session, email=normalised(email), name=name, password_hash=password_hash, roles=roles, now=now
    )
    if user:
        tx.emit(UserCreated(user_id=user.id, created_at=user.created_at))
    return user


def _seen(user: UserRow) -> User:
    return User(
        id=user.id,
        email=user.email,
        name=user.name,
        roles=tuple(user.roles),
        suspended=user.suspended_at is not None,
        email_verified=user.email_verified_at is not None,
        address=Address.model_validate(user.address) if user.address else None,
        created_at=user.created_at,
    )
