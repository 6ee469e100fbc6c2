"""A ref whose name holds a secret of ours is synced, and not kept by its name."""

from gms_hookd.model import RunStatus
from gms_hookd.safetext.mask import Mask
from tests.support.repositories import task

SECRET = "5up3r-secret-of-the-house-0123"


def test_a_branch_named_like_a_secret_is_synced_and_forgotten(source, target, opened):
    bench = opened(mask=Mask([SECRET]))
    source.commit("main", f"of/{SECRET}")
    it = task(source, target)
    for _ in range(2):
        result = bench.sync(it)
        assert result.status is RunStatus.SUCCESS
        assert target.refs() == source.refs()
        assert SECRET not in repr(result) + bench.log.text()
        source.commit(f"of/{SECRET}")
    assert "refs/heads/of/***" in {ref.ref for ref in result.refs}


def test_what_a_host_repeats_of_a_secret_is_not_in_the_reasons(source, target, opened):
    bench = opened(mask=Mask([SECRET]))
    target.hook("update", f"#!/bin/sh\necho not with {SECRET[3:20]}; exit 1\n")
    result = bench.sync(task(source, target))
    assert result.status is RunStatus.FAILED
    assert SECRET[3:15] not in repr(result) + bench.log.text()
    assert "not with ***" in bench.log.text()
