"""Members in Redis OM, as a program that knows of no module keeps them.

    plain_redis_om.py URL

The keys are members:Member:<pk>. Prints what Redis OM reads back.
"""

import datetime
import sys

import redis
from redis_om import HashModel, NotFoundError, get_redis_connection


class Member(HashModel, index=True):
    name: str
    email: str
    joined: datetime.date
    paid: bool = False
    age: int | None = None

    class Meta:
        database = get_redis_connection(url=sys.argv[1])
        global_key_prefix = "members"
        model_key_prefix = "Member"


def shown(member):
    return member.name, member.email, str(member.joined), member.paid, member.age


ann = Member(name="ann", email="a@x", joined=datetime.date(2020, 1, 2), age=30)
ann.save()
print(ann.key() == f"members:Member:{ann.pk}", shown(Member.get(ann.pk)))
ann.update(age=31, paid=True)
print(shown(Member.get(ann.pk)))
ann.expire(300)
print(0 < Member.db().ttl(ann.key()) <= 300)

ben = Member(name="ben", email="a@x", joined=datetime.date(2021, 1, 2))
try:
    ben.save()
except redis.ResponseError as error:
    print(" ".join(str(error).split(" ")[:2]))
ben.email = "b@x"
ben.save()
cid = Member(name="cid", email="c@x", joined=datetime.date(2022, 1, 2))
Member.add([cid, Member(name="dan", email="d@x", joined=datetime.date(2023, 1, 2))])
print(len(list(Member.all_pks())))

print(Member.delete(cid.pk))
try:
    print(shown(Member.get(cid.pk)))
except NotFoundError:
    print("not found")

# Evicted: the row is still there.
Member.db().expire(ben.key(), -1)
print(shown(Member.get(ben.pk)))
