"""UUIDs as the standard library makes them."""

import uuid

from gms_hookd.light.uuids import random_uuid, uuid_of


def test_one_of_a_name_is_that_of_the_standard_library():
    for name in ("", "(1, 'a')", "http://münchen.example/\u4e2d"):
        assert uuid_of(name) == str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def test_a_random_one_says_that_it_is_random():
    made = {random_uuid() for _ in range(100)}
    assert len(made) == 100
    for text in made:
        one = uuid.UUID(text)
        assert (str(one), one.version, one.variant) == (text, 4, uuid.RFC_4122)
