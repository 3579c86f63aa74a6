"""A payment gateway to develop and test against: Stripe's PaymentIntents in miniature, with its own honest ledger.

Promise: an effect and the answer that is kept for its idempotency key are one transaction, so a crash at any moment
leaves both or neither; and what `GET /v1/ledger` says is what happened to the money.
"""
