"""The same as client.py, with redis-py's asyncio. Needs redis-py, and examples/shop.json.

    python3 examples/clients/client_asyncio.py [redis://127.0.0.1:6379]
"""

import asyncio
import sys
import time

import redis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from client import PATIENCE, may_be_sent_again, refusal


async def write(command, repeatable=True):
    """Runs command until it is answered, refused, or PATIENCE is over."""
    until, pause = time.monotonic() + PATIENCE, 0.05
    while True:
        try:
            return await command()
        except redis.ResponseError as error:
            if not may_be_sent_again(error, repeatable) or time.monotonic() > until:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, 1)


async def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379"
    # Four connections for all tasks, a read time-out that is longer than the server's timeout_ms, and
    # nothing that is repeated by itself.
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=4,
        timeout=PATIENCE,
        decode_responses=True,
        socket_timeout=10,
        retry=Retry(NoBackoff(), 0),
    )
    client = Redis(connection_pool=pool)

    lamp = {"title": "Lamp", "price": "19.999", "stock": 5}
    print("new fields:", await write(lambda: client.hset("__{products:lamp}", mapping=lamp)))
    print("the row:", *await client.hmget("products:lamp", "title", "price", "stock"))

    try:
        await write(lambda: client.hset("__{products:lamp}", "price", -1))
    except redis.ResponseError as error:
        print("refused:", refusal(error))

    async def buy():
        try:
            take = lambda: client.hincrby("__{products:lamp}", "stock", -1)
            await write(take, repeatable=False)
            return True
        except redis.ResponseError as error:
            assert refusal(error) == "23514 products_stock_check"
            return False

    sold = sum(await asyncio.gather(*(buy() for _ in range(10))))
    print(f"sold: {sold} of 10, left: {await client.hget('products:lamp', 'stock')}")
    await pool.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
