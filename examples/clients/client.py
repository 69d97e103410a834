"""A shop's stock through Redis in PostgreSQL. Needs redis-py, and examples/shop.json.

    python3 examples/clients/client.py [redis://127.0.0.1:6379]
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PATIENCE = 60  # seconds


def may_be_sent_again(error, repeatable):
    """What the error's first word says. A set or a delete is repeatable; an increment is not."""
    code, _, text = str(error).partition(" ")
    if code == "WTTIMEOUT":
        return repeatable or "nothing was written" in text
    return code in ("WTDOWN", "WTBUSY")


def write(command, repeatable=True):
    """Runs command until it is answered, refused, or PATIENCE is over."""
    until, pause = time.monotonic() + PATIENCE, 0.05
    while True:
        try:
            return command()
        except redis.ResponseError as error:
            if not may_be_sent_again(error, repeatable) or time.monotonic() > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 1)


def refusal(error):
    """SQLSTATE and constraint of a WTERR: nothing changed, here or there. Raises all others."""
    code, sqlstate, *words = str(error).split(" ")
    if code != "WTERR":
        raise error
    names = [word.split("=", 1)[1] for word in words if word.startswith("constraint=")]
    return " ".join([sqlstate, *names[:1]])


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379"
    # Four connections for all threads: a thread that finds none free waits for one. A client has to
    # wait for longer than the server does (timeout_ms), and must not repeat an increment by itself.
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=4,
        timeout=PATIENCE,
        decode_responses=True,
        socket_timeout=10,
        retry=Retry(NoBackoff(), 0),
    )
    client = redis.Redis(connection_pool=pool)

    lamp = {"title": "Lamp", "price": "19.999", "stock": 5}
    print("new fields:", write(lambda: client.hset("__{products:lamp}", mapping=lamp)))
    print("the row:", *client.hmget("products:lamp", "title", "price", "stock"))

    try:
        write(lambda: client.hset("__{products:lamp}", "price", -1))
    except redis.ResponseError as error:
        print("refused:", refusal(error))

    def buy(_):
        try:
            write(lambda: client.hincrby("__{products:lamp}", "stock", -1), repeatable=False)
            return True
        except redis.ResponseError as error:
            assert refusal(error) == "23514 products_stock_check"
            return False

    with ThreadPoolExecutor(10) as buyers:
        sold = sum(buyers.map(buy, range(10)))
    print(f"sold: {sold} of 10, left: {client.hget('products:lamp', 'stock')}")


if __name__ == "__main__":
    main()
