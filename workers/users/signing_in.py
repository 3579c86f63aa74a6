"""Signing in and out, and proving who one is without a password.

Promise: a password is hashed or verified before the transaction begins; an unknown address is answered like a known
one.
"""

from datetime import UTC, datetime

from broker.reader import Reader
from broker.service import Http
from broker.transaction import Transaction
from broker.vault import Vault
from contracts.base import Caller, Refusal, unauthenticated
from contracts.users import (
    GetStreamTicket,
    LogIn,
    LogOut,
    RefreshSession,
    RegisterUser,
    RequestPasswordReset,
    ResetPassword,
    Ticket,
    Tokens,
    VerifyEmail,
    account_suspended,
    bad_credentials,
    bad_refresh_token,
    token_not_valid,
)
from workers.users import mailing, profiles, revoking, store
from workers.users.passwords import PasswordHash, Passwords
from workers.users.rules import Verdict, judged, normalised
from workers.users.service import service
from workers.users.store import KnownPassword
from workers.users.tokens import Signer, fresh_token


async def hash_password(ask: RegisterUser | ResetPassword, passwords: Passwords) -> PasswordHash:
    """Before the transaction, so that no database connection waits for it."""
    return await passwords.hash(ask.password)


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
