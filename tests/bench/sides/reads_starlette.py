"""GET /products/{sku} without a platform: one process, Starlette, asyncpg, granian; the catalogue's own tables. And an
answer that Starlette has only to send."""

import json
import os

import asyncpg
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_PRODUCT = """
SELECT p.sku, name, description, category, price_amount, price_currency, tax_class, weight_grams, attributes, images,
       on_hand - reserved AS available, archived, updated_at
  FROM catalog.products AS p JOIN catalog.stock AS s ON s.sku = p.sku
 WHERE p.sku = $1
"""


def application(pool: asyncpg.Pool) -> Starlette:
    """The whole service."""

    async def get_product(request: Request) -> JSONResponse:
        row = await pool.fetchrow(_PRODUCT, request.path_params["sku"])
        if row is None:
            return JSONResponse({"title": "There is no such product."}, 404)
        product = dict(row)
        product["price"] = {"amount": product.pop("price_amount"), "currency": product.pop("price_currency")}
        product["updated_at"] = product["updated_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return JSONResponse(product)

    async def constant(request: Request) -> Response:
        return Response(b'{"status": "alive"}', media_type="application/json")

    return Starlette(routes=[Route("/products/{sku}", get_product), Route("/constant", constant)])


async def _read_json(connection: asyncpg.Connection) -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def serve() -> None:
    """Until told to stop."""
    pool = await asyncpg.create_pool(os.environ["BENCH_DATABASE"], min_size=10, max_size=10, init=_read_json)
    server = Server(
        application(pool),
        port=int(os.environ["BENCH_PORT"]),
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
    )
    await server.serve()


if __name__ == "__main__":
    uvloop.run(serve())
