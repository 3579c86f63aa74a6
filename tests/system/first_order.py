"""`python -m tests.system.first_order EDGE ADMINISTRATOR`: one order on a platform that runs somewhere, to its end.

ADMINISTRATOR is the file with the first staff user's email and password.
"""

import asyncio
import json
import sys
from pathlib import Path

from tests.support.customer import visitor


async def order_once(edge: str, email: str, password: str) -> None:
    """Staff add a product, a new customer buys it. Raises AssertionError where the order is not confirmed."""
    async with visitor(edge) as staff, visitor(edge) as customer:
        await staff.log_in(email, password)
        await staff.http.put("/categories/tests", json={"name": "Tests"})
        sku = await staff.add_product(on_hand=3)
        await customer.register()
        order = await customer.settled(await customer.order(sku, 2), within=30)
        assert order["status"] == "confirmed", order
        print(f"order {order['number']} is confirmed")


def main() -> None:
    """Do what the command line says."""
    edge, administrator = sys.argv[1:]
    asyncio.run(order_once(edge, **json.loads(Path(administrator).read_text())))


if __name__ == "__main__":
    main()
