"""Accounts in Redis, as a program that knows of no module keeps them: redis-py on plain keys.

    plain_redis_py.py URL

Prints what each command answered.
"""

import sys

import redis

db = redis.Redis.from_url(sys.argv[1], decode_responses=True)


def said(command):
    try:
        return command()
    except redis.ResponseError as error:
        return f"refused: {' '.join(str(error).split(' ')[:2])}"


print(db.hset("accounts:1", mapping={"name": "ann", "email": "a@x", "visits": 1}))
print(sorted(db.hgetall("accounts:1").items()))
print(db.hset("accounts:1", "name", "anne"), db.hget("accounts:1", "name"))
print(db.hincrby("accounts:1", "visits"), db.hincrbyfloat("accounts:1", "balance", 0.5))
print(db.hmget("accounts:1", "visits", "nosuch"), db.hexists("accounts:1", "email"))
print(db.hsetnx("accounts:1", "name", "x"), db.hdel("accounts:1", "email"))
print(db.expire("accounts:1", 300), 0 < db.ttl("accounts:1") <= 300, db.persist("accounts:1"))

# MULTI and EXEC around all.
with db.pipeline() as pipe:
    pipe.hset("accounts:2", mapping={"name": "ben", "email": "b@x"})
    pipe.hincrby("accounts:2", "visits", 5)
    pipe.hgetall("accounts:2")
    added, visits, read = pipe.execute()
    print(added, visits, sorted(read.items()))
    pipe.delete("accounts:3").hset("accounts:3", mapping={"name": "cid"})
    print(pipe.execute())

# Only sent together.
with db.pipeline(transaction=False) as pipe:
    for number in range(4, 8):
        pipe.hset(f"accounts:{number}", mapping={"name": f"a{number}", "visits": number})
    pipe.hget("accounts:7", "name")
    print(pipe.execute())

with db.pipeline(transaction=False) as pipe:
    pipe.hset("accounts:8", mapping={"name": "x", "email": "b@x"})
    pipe.hincrby("accounts:4", "visits", 10)
    first, second = pipe.execute(raise_on_error=False)
    print(said(lambda: (_ for _ in ()).throw(first)), second)

print(said(lambda: db.hset("accounts:1", "visits", "many")))
print(said(lambda: db.hset("accounts:1", "nosuch", "x")))
print(said(lambda: db.hincrby("accounts:1", "name")))
print(db.hset("accounts:1:notes", "today", "x"), db.sadd("accounts", 1, 2))
print(db.delete("accounts:5", "accounts:9"), db.unlink("accounts:6"), db.exists("accounts:5"))
print(db.hgetall("accounts:5"), db.delete("accounts:1:notes"))
