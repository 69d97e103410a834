"""Buyers of one lamp each, at the same time, whose client gives up before the answer is there.

    gives_up.py sync|asyncio PORT BUYERS TIMES [RETRIES]

The first TIMES attempts of each buyer wait for half a second, all others for ten minutes. Without
RETRIES the library repeats as it does by default. Prints what each buyer read, sorted.
"""

import asyncio
import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import redis
import redis.asyncio
import redis.asyncio.retry
from redis.backoff import NoBackoff
from redis.retry import Retry

SHORT, LONG = 0.5, 600  # seconds
flavour, port, buyers, times = sys.argv[1], *map(int, sys.argv[2:5])
retries = int(sys.argv[5]) if len(sys.argv) > 5 else None


def time_outs():
    return itertools.chain(itertools.repeat(SHORT, times), itertools.repeat(LONG))


def impatient(Connection, left):
    """Only the answer to an increment is given up: to connect there is always time."""

    class Sync(Connection):
        def send_command(self, *args, **kwargs):
            super().send_command(*args, **kwargs)
            if args[0] == "HINCRBY":
                self._sock.settimeout(next(left))

    class Async(Connection):
        async def send_command(self, *args, **kwargs):
            self.socket_timeout = LONG
            await super().send_command(*args, **kwargs)
            if args[0] == "HINCRBY":
                self.socket_timeout = next(left)

    return Async if flavour == "asyncio" else Sync


def client(Redis, Retry, Connection):
    retry = {} if retries is None else {"retry": Retry(NoBackoff(), retries)}
    made = Redis(port=port, socket_timeout=LONG, **retry)
    made.connection_pool.connection_class = impatient(Connection, time_outs())
    return made


def sync_buyer(_):
    made = client(redis.Redis, Retry, redis.Connection)
    try:
        return f"bought, {made.hincrby('__{products:lamp}', 'stock', -1)} left"
    except redis.RedisError as error:
        return said(error)


async def async_buyer():
    made = client(redis.asyncio.Redis, redis.asyncio.retry.Retry, redis.asyncio.Connection)
    try:
        return f"bought, {await made.hincrby('__{products:lamp}', 'stock', -1)} left"
    except redis.RedisError as error:
        return said(error)
    finally:
        await made.connection_pool.disconnect()


def said(error):
    if isinstance(error, redis.TimeoutError):
        return "gave up"
    return " ".join(str(error).split(" ")[:2])


async def gather():
    return await asyncio.gather(*(async_buyer() for _ in range(buyers)))


if flavour == "asyncio":
    read = asyncio.run(gather())
else:
    with ThreadPoolExecutor(buyers) as pool:
        read = list(pool.map(sync_buyer, range(buyers)))
print("\n".join(sorted(read)))
