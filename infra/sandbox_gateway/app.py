"""The gateway's HTTP surface: `/v1/payments`, `/v1/ledger`, the page on which a customer proves who they are, and the
scripts for tests: `/v1/webhooks` and `/v1/trouble`."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from functools import partial

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from infra.sandbox_gateway import effects
from infra.sandbox_gateway.idempotency import Keys, fingerprint_of
from infra.sandbox_gateway.ledger import Ledger
from infra.sandbox_gateway.methods import Method, method_named
from infra.sandbox_gateway.payment import Answer, ErrorType, NewPayment, NewRefund, Payment, error
from infra.sandbox_gateway.trouble import Script as TroubleScript
from infra.sandbox_gateway.trouble import Trouble
from infra.sandbox_gateway.webhooks import Script, Webhooks

Endpoint = Callable[[Request], Awaitable[Response]]
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sandbox bank</title>
<h1>Sandbox bank</h1><p>{words}</p>{forms}</html>"""
_FORMS = """<form method="post" action="?outcome=succeeded"><button>Complete</button></form>
<form method="post" action="?outcome=failed"><button>Fail</button></form>"""


def make_app(ledger: Ledger, secret_key: str, webhooks: Webhooks) -> Starlette:
    """The gateway over this ledger; its clients prove themselves with the secret key."""
    gateway = Gateway(ledger, webhooks)

    def private(endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            given = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {secret_key}".encode()):
                return _refuse(401, "api_key_invalid", "The secret key is missing or wrong.")
            return await endpoint(request)

        return checked

    return Starlette(
        routes=[
            Route("/v1/payments", private(gateway.authorise), methods=["POST"]),
            Route("/v1/payments", private(gateway.list_payments), methods=["GET"]),
            Route("/v1/payments/{id}", private(gateway.get_payment), methods=["GET"]),
            Route("/v1/payments/{id}/capture", private(partial(gateway.change, effects.capture)), methods=["POST"]),
            Route("/v1/payments/{id}/void", private(partial(gateway.change, effects.void)), methods=["POST"]),
            Route("/v1/payments/{id}/refund", private(gateway.refund), methods=["POST"]),
            Route("/v1/ledger", private(gateway.list_entries), methods=["GET"]),
            Route("/v1/movements", private(gateway.list_movements), methods=["GET"]),
            Route("/v1/webhooks", private(gateway.count_webhooks), methods=["GET"]),
            Route("/v1/webhooks", private(gateway.script_webhooks), methods=["PUT"]),
            Route("/v1/trouble", private(gateway.count_trouble), methods=["GET"]),
            Route("/v1/trouble", private(gateway.script_trouble), methods=["PUT"]),
            Route("/authentications/{id}", gateway.authenticate, methods=["GET", "POST"]),
            Route("/healthz", _healthz, methods=["GET"]),
        ]
    )


class Gateway:
    """The endpoints. Each write runs once an idempotency key."""

    def __init__(self, ledger: Ledger, webhooks: Webhooks) -> None:
        self._ledger = ledger
        self._webhooks = webhooks
        self._keys = Keys(ledger)
        self._trouble = Trouble()

    async def authorise(self, request: Request) -> Response:
        """Hold money, as its payment method lets it."""
        try:
            new = NewPayment.model_validate_json(await request.body())
        except ValidationError as invalid:
            return _malformed(invalid)
        hold = partial(effects.authorise, self._ledger, new, str(request.base_url))
        return await self._once(request, hold, method_named(new.payment_method))

    async def change(self, effect: Callable[[Ledger, Payment], Answer], request: Request) -> Response:
        """Do this to the payment that the path names."""

        def change_it() -> Answer:
            payment = self._ledger.payment(request.path_params["id"])
            if payment is None:
                return error(404, "invalid_request_error", "resource_missing", "There is no such payment.")
            return effect(self._ledger, payment)

        return await self._once(request, change_it, Method())

    async def refund(self, request: Request) -> Response:
        """Give money of the payment that the path names back."""
        try:
            new = NewRefund.model_validate_json(await request.body())
        except ValidationError as invalid:
            return _malformed(invalid)
        return await self.change(partial(effects.refund, new), request)

    async def get_payment(self, request: Request) -> Response:
        """One payment as it stands."""
        payment = self._ledger.payment(request.path_params["id"])
        if payment is None:
            return _refuse(404, "resource_missing", "There is no such payment.")
        return JSONResponse(payment.model_dump())

    async def list_payments(self, request: Request) -> Response:
        """The payments of a reference."""
        reference = request.query_params.get("reference")
        if not reference:
            return _refuse(400, "parameter_missing", "Say which: ?reference=")
        return JSONResponse({"object": "list", "data": self._ledger.payments(reference)})

    async def list_entries(self, request: Request) -> Response:
        """Every movement of money, of one reference or of all."""
        entries = self._ledger.entries(request.query_params.get("reference"))
        return JSONResponse({"object": "list", "data": entries})

    async def list_movements(self, request: Request) -> Response:
        """Payments by their last movement of money, after a cursor (an id) and older than so many seconds."""
        asked = request.query_params
        try:
            after, older_than = int(asked.get("after", 0)), float(asked.get("older_than", 0))
            limit = int(asked.get("limit", 100))
        except ValueError:
            return _refuse(400, "parameter_invalid", "after, older_than and limit are numbers.")
        movements = self._ledger.movements(after, older_than=older_than, limit=min(max(limit, 1), 100))
        return JSONResponse({"object": "list", "data": movements})

    async def script_webhooks(self, request: Request) -> Response:
        """How webhooks behave from now on."""
        try:
            self._webhooks.script = Script.model_validate_json(await request.body())
        except ValidationError as invalid:
            return _malformed(invalid)
        return JSONResponse(self._webhooks.script.model_dump())

    async def count_webhooks(self, request: Request) -> Response:
        """How many are done with, and how many are still to be sent."""
        return JSONResponse(self._ledger.count_webhooks())

    async def script_trouble(self, request: Request) -> Response:
        """What befalls calls from now on."""
        try:
            self._trouble.follow(script := TroubleScript.model_validate_json(await request.body()))
        except ValidationError as invalid:
            return _malformed(invalid)
        return JSONResponse(script.model_dump())

    async def count_trouble(self, request: Request) -> Response:
        """How many calls met which trouble."""
        return JSONResponse(self._trouble.met)

    async def authenticate(self, request: Request) -> Response:
        """The bank's page: the customer completes or fails; `?outcome=` does it without a click."""
        payment = self._ledger.payment(request.path_params["id"])
        if payment is None:
            return HTMLResponse(_PAGE.format(words="There is no such payment.", forms=""), 404)
        outcome = request.query_params.get("outcome")
        if outcome in ("succeeded", "failed"):
            settle = partial(effects.settle, self._ledger, payment, succeeded=outcome == "succeeded")
            self._ledger.together(settle, tell_at=self._webhooks.tell_at())
            await self._webhooks.send_now()
            payment = self._ledger.payment(payment.id) or payment
        words = f"A payment of {payment.amount} {payment.currency} (minor units): {payment.status.replace('_', ' ')}."
        return HTMLResponse(_PAGE.format(words=words, forms=_FORMS if payment.status == "requires_action" else ""))

    async def _once(self, request: Request, effect: Callable[[], Answer], method: Method) -> Response:
        key = request.headers.get("Idempotency-Key", "")
        if not 1 <= len(key) <= 255:
            return _refuse(400, "idempotency_key_missing", "A write needs an Idempotency-Key of 1 to 255 characters.")
        fingerprint = fingerprint_of(request.method, request.url.path, await request.body())
        if said := self._keys.replay(key, fingerprint):
            return _respond(said[0], replayed=said[1])
        method = self._trouble.befall(method)
        with self._keys.held(key):
            await asyncio.sleep(method.slow_seconds)
            if method.silent == "before":
                return await _never_answer(request)
            done = partial(_fail, effect, method) if method.fails else effect
            answer = self._keys.do(key, fingerprint, done, tell_at=self._webhooks.tell_at(method))
        await self._webhooks.send_now()
        return await _never_answer(request) if method.silent == "after" else _respond(answer)


def _fail(effect: Callable[[], Answer], method: Method) -> Answer:
    if method.fails == "after":
        effect()
    return effects.failure()


async def _never_answer(request: Request) -> Response:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response(status_code=408)  # nobody is there to read it


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("ok")


def _respond(answer: Answer, *, replayed: bool = False) -> Response:
    headers = {"Idempotent-Replayed": "true"} if replayed else None
    return Response(answer.body, answer.status, headers, "application/json")


def _malformed(invalid: ValidationError) -> Response:
    return _refuse(400, "parameter_invalid", str(invalid.errors(include_url=False, include_input=False)))


def _refuse(status: int, code: str, message: str, type_: ErrorType = "invalid_request_error") -> Response:
    return _respond(error(status, type_, code, message))
