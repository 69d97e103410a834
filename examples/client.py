"""Write users through Redis to PostgreSQL, and read the answers. Needs redis-py.

    python3 examples/client.py [redis://127.0.0.1:6379]
"""

import sys
import time

import redis

# Nothing was written: the same write can be sent again.
NOT_WRITTEN = ("WTDOWN", "WTBUSY")


def save(client, key, fields, attempts=5):
    """Writes fields to the row and the hash of key; returns how many are new in the hash."""
    for attempt in range(attempts):
        try:
            return client.hset("__{%s}" % key, mapping=fields)
        except redis.ResponseError as error:
            code = str(error).split(" ", 1)[0]
            if code not in NOT_WRITTEN or attempt == attempts - 1:
                raise
            time.sleep(0.1 * 2**attempt)


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379"
    # Threads may share the client: each takes a connection of the pool, so only the
    # thread that writes waits for the database.
    client = redis.Redis.from_url(url, decode_responses=True)

    user = {"username": "kim", "email": "kim@example.com", "pwhash": "x", "first": "Kim"}
    print("new fields:", save(client, "users:10", user))
    print("the row:   ", client.hgetall("users:10"))

    try:
        save(client, "users:10", {"dob": "1990-02-30"})
    except redis.ResponseError as error:
        code, _, rest = str(error).partition(" ")
        if code == "WTERR":  # PostgreSQL refused it: nothing changed, here or there
            sqlstate, _, message = rest.partition(" ")
            print("refused:   ", sqlstate, message)
        elif code == "WTTIMEOUT":  # may still commit; users:10 follows if it does
            print("not known yet:", rest)
        else:
            raise


if __name__ == "__main__":
    main()
