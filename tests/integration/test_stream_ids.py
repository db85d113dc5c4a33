"""Streams whose entries have ids that Redis' clock of today does not make."""

from harness.wait import pause, wait_for

STREAM = "till:{default}:normal"
NOOP = {"task": "till.tasks.noop", "args": "[]"}
YEAR_2100 = "4102444800000-0"
THE_LAST = "18446744073709551615-18446744073709551615"


def all_done(one):
    return one.value("SELECT bool_and(state = 'SUCCESS') FROM jobs")


def test_a_backlog_behind_an_id_of_a_time_to_come_is_not_added_again_and_again(stack):
    """As when Redis' clock was ahead for a while: its ids go on from there."""
    one = stack(own_redis=True)
    one.redis.xadd(STREAM, NOOP, id=YEAR_2100)
    assert one.till("queue", "pause", "default").returncode == 0
    one.start(apis=0)
    one.enqueue("till.tasks.noop", count=50)
    pause(4)  # several healings

    assert one.redis.xlen(STREAM) == 51

    one.redis.xtrim(STREAM, maxlen=11, approximate=False)  # some are lost
    wait_for(lambda: one.redis.xlen(STREAM) >= 50, 20, "they are not healed")
    assert one.till("queue", "resume", "default").returncode == 0
    wait_for(lambda: all_done(one), 20, "not all have run")
    assert one.value("SELECT max(attempt) FROM jobs") == 1


def test_a_stream_that_takes_nothing_more_keeps_nobody_else_from_healing(stack):
    one = stack(own_redis=True)
    one.redis.xadd(STREAM, NOOP, id=THE_LAST)
    one.start(apis=0)
    stuck = one.enqueue("till.tasks.noop")
    other = "till:{mail}:normal"
    assert one.till("queue", "pause", "mail").returncode == 0
    lost = one.enqueue("till.tasks.noop", queue="mail")
    one.redis.delete(other)
    refused = one.till("enqueue", "till.tasks.noop", "[]", "--fast")

    assert refused.returncode == 1 and "exhausted" in refused.stderr
    wait_for(lambda: one.redis.xlen(other) == 1, 20, "the other queue is not healed")
    assert one.scheduler.wait_for_log("stream_refuses", queue="default")["advice"]
    assert one.till("queue", "resume", "mail").returncode == 0
    one.wait_job(lost)

    wait_for(lambda: one.redis.xlen(STREAM) == 0, 20, "its last entry is not read")
    one.redis.delete(STREAM)  # as it is told
    one.wait_job(stuck, timeout=20)
