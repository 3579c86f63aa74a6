"""What is a remainder is what remains."""

from tests.bench.edge import LIMIT, OURS, PARTS, PEERS, RATE
from tests.bench.parts import COST, whole
from tests.bench.rounds import Spread
from tests.bench.sides.door import GET, HEALTH

FRONT, WORKER, BROKER = PARTS


def test_the_edge_is_its_server_its_door_and_its_end_of_the_lane() -> None:
    costs = {GET: Spread((25.0,)), HEALTH: Spread((15.0,))}
    ours = {FRONT: Spread((100.0,)), WORKER: Spread((50.0,)), BROKER: Spread((70.0,)), RATE: Spread((5000.0,))}
    peers = {peer: {RATE: Spread((6000.0,))} for peer in PEERS}
    table = whole(costs, {OURS: ours, LIMIT: {FRONT: Spread((50.0,))}, **peers})
    assert [row[COST].median for row in table.rows.values()] == [100, 35, 25, 40, 50, 70]
