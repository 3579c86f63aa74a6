"""Mails, from the wish to send one until it has left.

Promise: a wish is a row of the transaction that it belongs to; the mail is written when it is sent, with a token of
which only the hash is kept. One that can't be sent is tried again, each time after twice as long, and given up after
`TRIES`; it may arrive twice, never with a token that does not work. Nobody gets two mails with tokens of one kind
within `QUIET`, whoever asks for them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import cast

from broker.lane import Ask, LaneError
from broker.outbox import Origin
from broker.reconnecting import BrokerAwayError
from broker.telemetry import log
from broker.transaction import Database, Transaction
from contracts.base import Refusal
from contracts.orders import LookUpOrder
from workers.users import mails, profiles, store
from workers.users.letters import LETTERS, Kind
from workers.users.mails import Mail
from workers.users.news import KINDS, News, about
from workers.users.post import DeliveryError, Post, written
from workers.users.tables import MailedTokenRow, UserRow
from workers.users.tokens import fingerprint, fresh_token

TRIES = 10
FIRST_PAUSE = timedelta(seconds=30)
QUIET = timedelta(minutes=1)
_ORIGIN = Origin("mail")


@dataclass(frozen=True)
class Mailer:
    """Who sends, and by which way."""

    post: Post
    sender: str


async def want(tx: Transaction, kind: Kind, email: str) -> None:
    """Have this mail sent to a (normalised) address, if it is a user's by then."""
    await mails.add(tx.connection, kind, lookup=tx.people.lookup(email))


async def tell(tx: Transaction, news: News) -> None:
    """Have the customer told of an order."""
    await mails.add(tx.connection, news.topic, news=news.model_dump_json())


async def send_next(database: Database, mailer: Mailer, ask: Ask) -> bool:
    """Send the mail that has been due for longest; false where none is."""
    mail = await database.transact(_ORIGIN, lambda tx: mails.take(tx.connection, FIRST_PAUSE))
    if mail is None:
        return False
    try:
        message = await _write_news(database, mail, mailer, ask) if mail.news else await _write(database, mail, mailer)
        if message is not None:
            await mailer.post.send(message)
    except DeliveryError as error:
        is_last = mail.attempts >= TRIES
        (log.error if is_last else log.warning)("a mail could not be sent", kind=mail.kind, error=str(error))
        if not is_last:
            return True
    await database.transact(_ORIGIN, lambda tx: mails.forget(tx.connection, mail.id))
    return True


async def _write_news(database: Database, mail: Mail, mailer: Mailer, ask: Ask) -> EmailMessage | None:
    """The mail about an order; None where there is neither the order nor an address any more."""
    news = KINDS[mail.kind].model_validate(mail.news)
    try:
        order = await ask(LookUpOrder(id=news.order_id))
    except (LaneError, BrokerAwayError) as error:
        raise DeliveryError(f"the order can't be looked up: {error!r}") from error
    if isinstance(order, Refusal):
        if order.status >= 500:
            raise DeliveryError(f"the order can't be looked up: {order.slug}")
        return None
    customer = news.customer_id
    profile = await database.read(lambda tx: profiles.of_id(tx, customer)) if customer else None
    email = order.email or (profile.email if profile else None)
    if email is None:
        return None
    said = about(news, order, name=profile.name if profile else None)
    return written(sender=mailer.sender, recipient=email, subject=said.subject, text=said.text)


async def _write(database: Database, mail: Mail, mailer: Mailer) -> EmailMessage | None:
    """The mail to a user; None where nobody is to get it."""
    return await database.transact(_ORIGIN, lambda tx: _letter(tx, mail, mailer))


async def _letter(tx: Transaction, mail: Mail, mailer: Mailer) -> EmailMessage | None:
    user = await store.user_by_id(tx.session, await tx.people.find(mail.lookup or b""))
    profile, letter = await profiles.of(tx, user) if user else None, LETTERS[cast(Kind, mail.kind)]
    if user is None or profile is None or user.suspended_at is not None:
        return None
    token = None
    if letter.lifetime is not None:
        token = await _new_token(tx, user, mail, letter.lifetime)
        if token is None:
            return None
    text = letter.text(name=profile.name, token=token)
    return written(sender=mailer.sender, recipient=profile.email, subject=letter.subject, text=text)


async def _new_token(tx: Transaction, user: UserRow, mail: Mail, lifetime: timedelta) -> str | None:
    """A token to be mailed; None where one was mailed a moment ago, unless this is another try with the same mail."""
    now = datetime.now(UTC)
    if mail.attempts == 1 and await store.was_mailed_since(tx.session, user.id, mail.kind, now - QUIET):
        return None
    token = fresh_token()
    await store.forget_expired_tokens(tx.session, user.id, now)
    tx.session.add(
        MailedTokenRow(
            sha256=fingerprint(token),
            kind=mail.kind,
            user_id=user.id,
            lookup=mail.lookup,
            mailed_at=now,
            expires_at=now + lifetime,
        )
    )
    return token


async def redeem(tx: Transaction, kind: Kind, token: str) -> UserRow | None:
    """The (locked) user to whom this token was mailed, at the address that they still have. No token of this kind that
    they have works any more."""
    mailed = await store.mailed_token(tx.session, kind, token, datetime.now(UTC))
    user = await store.locked_user(tx.session, mailed.user_id) if mailed else None
    if mailed is None or user is None or await tx.people.find(mailed.lookup or b"") != user.id:
        return None
    if not await store.spend_mailed_tokens(tx.session, user.id, kind, mailed.sha256):
        return None  # somebody else has just spent it
    return user
