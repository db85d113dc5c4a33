"""The stream of events: what has just become of jobs, for live views."""

import datetime

from harness.wait import wait_for

STREAM = "till:events"


def events(one, job=None):
    found = [fields for _, fields in one.redis.xrange(STREAM)]
    found = [event for event in found if job is None or event.get("id") == job]
    return sorted(found, key=lambda event: (int(event.get("attempt", 0)), event.get("at", "")))


def wait_states(one, job, *states):
    wait_for(
        lambda: [event["state"] for event in events(one, job)] == list(states),
        10,
        lambda: str(events(one, job)),
    )
    return events(one, job)


def test_each_change_of_a_job_is_told(stack):
    one = stack({"TILL_RETRY_BASE_MS": 10}).start(apis=0)

    done = one.enqueue("till.tasks.noop")
    dead = one.enqueue("till.tasks.fail", "why", max_attempts=2)
    late = one.enqueue("till.tasks.snooze", 0.05, 1)
    many = one.enqueue("till.tasks.tally_many", 1)

    told = wait_states(one, done, "STARTED", "SUCCESS")
    wait_states(one, dead, "STARTED", "RETRY", "STARTED", "FAILURE")
    wait_states(one, late, "STARTED", "PENDING", "STARTED", "SUCCESS")
    wait_states(one, many, "SUCCESS")
    assert set(told[1]) == {"id", "task", "state", "attempt", "worker", "at", "runtime_us"}
    assert (told[1]["task"], told[1]["attempt"]) == ("till.tasks.noop", "1")
    assert told[1]["worker"] == one.job(done)["worker"]
    at = datetime.datetime.fromisoformat(told[1]["at"].replace("Z", "+00:00"))
    # By the same clock; on a busy machine the process may wait for its turn between the two.
    assert abs((at - one.job(done)["finished_at"]).total_seconds()) < 60
    assert 0 <= int(told[1]["runtime_us"]) < 10_000_000


def test_what_is_too_much_is_counted_and_left_out(stack):
    one = stack({"TILL_WORKER_EVENTS": 10, "TILL_WORKER_PROCESSES": 1})
    pipe = one.redis.pipeline()
    for _ in range(5000):
        pipe.xadd("till:{default}:normal", {"task": "till.tasks.noop"})
    pipe.execute()
    one.start_worker()
    one.wait_settled()

    def told():
        found = events(one)
        skipped = sum(int(event["skipped"]) for event in found if "skipped" in event)
        return skipped + sum("id" in event for event in found) == 5000 and found

    found = wait_for(told, 10, lambda: str(events(one)[-5:]))
    assert len(found) < 500
    assert {event["state"] for event in found if "id" in event} == {"SUCCESS"}


def test_the_stream_is_capped(stack):
    one = stack({"TILL_WORKER_EVENTS": 100000})
    pipe = one.redis.pipeline()
    for n in range(11000):
        pipe.xadd(STREAM, {"id": n})
    pipe.execute()

    one.start_worker()
    one.wait_job(one.enqueue("till.tasks.noop"))
    wait_for(lambda: one.redis.xlen(STREAM) < 10500, 10)


def test_events_can_be_turned_off(stack):
    one = stack({"TILL_WORKER_EVENTS": 0}).start(apis=0)
    one.wait_job(one.enqueue("till.tasks.noop"))
    worker = one.worker
    worker.term()
    worker.wait()

    assert one.redis.exists(STREAM) == 0
