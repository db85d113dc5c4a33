"""Flows on real servers and programs: chains, groups with callbacks, nesting, failures, retries."""

import contextlib
import json
import uuid

import psycopg2
import pytest
import requests

from harness import flows, programs
from harness.flows import declare, echo, fail, job, members, show, states, tally, wait_over
from harness.wait import wait_for


def results(one, flow_id):
    return [row["result"] for row in members(one, flow_id)]


def once():
    """Dead at its first attempt, and well at its second."""
    return job("till.tasks.fail", "once", 1, max_attempts=1)


def by_task(one, flow_id, task):
    return [row for row in members(one, flow_id) if row["task"] == task]


# ---- what runs when ----


def test_a_chain_runs_in_its_order_and_hands_results_on(stack):
    one = stack().start(apis=0)

    flow = declare(one, {"chain": [echo("a"), echo("b"), echo("c")]}, name="letters")
    wait_over(one, flow)

    rows = members(one, flow)
    assert [row["args"] for row in rows] == [["a"], ["b"], ["c"]]
    for before, after in zip(rows, rows[1:]):
        assert before["finished_at"] <= after["started_at"]
        assert after["result"]["input"] == before["result"]
    assert rows[0]["result"] == {"args": ["a"], "input": None}
    shown = show(one, flow)
    assert (shown["name"], shown["state"], shown["total"], shown["percent"]) == ("letters", "SUCCESS", 3, 100)
    flows.check(one)


def test_a_callback_comes_once_after_all_members_with_their_results_in_order(stack):
    one = stack().start(apis=0, workers=2)

    flow = declare(one, {"group": [echo(n) for n in range(600)], "callback": echo("all")})
    wait_over(one, flow, timeout=40)

    *group, callback = members(one, flow)
    assert callback["started_at"] >= max(row["finished_at"] for row in group)
    assert [r["args"] for r in callback["result"]["input"]] == [[n] for n in range(600)]
    assert callback["attempt"] == 1
    assert len({row["worker"] for row in group}) > 1
    one.wait_settled()
    flows.check(one)


@pytest.mark.parametrize("wrap", [lambda group: group, lambda group: {"chain": [group]}], ids=["bare", "in a chain"])
def test_what_follows_a_group_that_tells_when_it_is_over_gets_all_its_results(stack, wrap):
    """Without a callback it was given the result of any one member."""
    one = stack().start(apis=0)
    group = {"group": [echo("a"), echo("b"), echo("c")], "on_complete": echo("tell")}

    flow = declare(one, {"chain": [wrap(group), {"group": [echo("x"), echo("y")]}]})
    wait_over(one, flow)

    rows = members(one, flow)
    for behind in rows[4:]:
        assert [r["args"] for r in behind["result"]["input"]] == [["a"], ["b"], ["c"]]
    flows.check(one)


def test_groups_in_chains_and_chains_in_groups(stack):
    one = stack().start(apis=0)
    flow = declare(
        one,
        {
            "chain": [
                echo("start"),
                {
                    "group": [echo("g1"), {"chain": [echo("c1"), echo("c2")]}, {"group": [echo("n1"), echo("n2")]}],
                    "callback": {"chain": [echo("cb1"), echo("cb2")]},
                },
                {"group": [echo("x"), echo("y")]},
                echo("end"),
            ]
        },
    )
    wait_over(one, flow)

    given = {row["args"][0]: row["result"]["input"] for row in members(one, flow)}
    names = lambda many: [r["args"][0] for r in many]
    assert given["start"] is None
    assert given["g1"]["args"] == given["c1"]["args"] == given["n2"]["args"] == ["start"]
    assert given["c2"]["args"] == ["c1"]
    assert names(given["cb1"]) == ["g1", "c2", "n1", "n2"]
    assert given["cb2"]["args"] == ["cb1"]
    assert given["x"]["args"] == given["y"]["args"] == ["cb2"]
    assert names(given["end"]) == ["x", "y"]
    flows.check(one)


def test_members_that_wait_are_seen_and_take_no_place_in_a_stream(stack):
    one = stack()
    one.start_scheduler()

    flow = declare(one, {"chain": [echo("a"), echo("b")]})

    wait_for(lambda: one.redis.xlen("till:{default}:normal") == 1, 5, "the first was never delivered")
    first, second = members(one, flow)
    assert second["state"] == "PENDING" and second["waits"] and second["enqueued_at"] is None
    listed = one.till("task", "list", "--state", "PENDING", "--json")
    assert second["id"] in [json.loads(line)["id"] for line in listed.stdout.splitlines()]
    shown = show(one, flow)
    assert (shown["state"], shown["waiting"], shown["percent"]) == ("PENDING", 1, 0)
    assert [m["waits"] for m in shown["members"]] == [False, True]


def test_a_later_step_keeps_its_own_time(stack):
    one = stack().start(apis=0)
    at = one.value("SELECT to_char(now() + interval '5 s', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")

    flow = declare(one, {"chain": [echo("a"), echo("b", scheduled_at=at)]})
    wait_over(one, flow)

    first, second = members(one, flow)
    assert second["started_at"] >= second["scheduled_at"] > first["finished_at"]


# ---- failures ----


def test_a_failed_step_stops_what_follows_and_names_itself(stack):
    one = stack().start(apis=0)

    flow = declare(one, {"chain": [echo("a"), fail(), echo("b"), {"group": [echo("c"), echo("d")]}, echo("e")]})
    wait_over(one, flow, "FAILURE")

    rows = members(one, flow)
    assert [row["state"] for row in rows] == ["SUCCESS", "FAILURE"] + ["REVOKED"] * 4
    assert {row["error"] for row in rows[2:]} == {
        f"depends on job {rows[1]['id']} (till.tasks.fail), which failed"
    }
    assert all(row["attempt"] == 0 and row["finished_at"] for row in rows[2:])
    flows.check(one)


def test_what_stopped_a_member_is_told_though_its_task_has_secrets(stack):
    """The task itself has said nothing; what it says stays its own."""
    one = stack().start(apis=0)
    flow = declare(one, {"chain": [fail(), echo("b", kwargs={"hidden": "tiger"})]})
    wait_over(one, flow, "FAILURE")
    first = members(one, flow)[0]["id"]

    told = [member["error"] for member in show(one, flow)["members"]]

    assert told == ["failed as it was told to", f"depends on job {first} (till.tasks.fail), which failed"]
    assert f"depends on job {first}" in one.till("flow", "show", flow).stdout
    one.query("UPDATE jobs SET error = 'tiger' WHERE flow_id = %s AND flow_step = 2", flow)
    assert show(one, flow)["members"][1]["error"] == "[redacted]"


def test_on_complete_comes_however_the_group_ends_and_sees_who_failed(stack):
    one = stack().start(apis=0)
    group = [echo("ok"), fail(), echo("ok too")]

    flow = declare(one, {"group": group, "callback": echo("success"), "on_complete": echo("complete")})
    wait_over(one, flow, "FAILURE")

    rows = members(one, flow)
    assert [row["state"] for row in rows] == ["SUCCESS", "FAILURE", "SUCCESS", "REVOKED", "SUCCESS"]
    seen = rows[4]["result"]["input"]
    assert [s["state"] for s in seen] == ["SUCCESS", "FAILURE", "SUCCESS"]
    assert [s["id"] for s in seen] == [row["id"] for row in rows[:3]]
    assert "failed as it was told to" in seen[1]["error"]

    flow = declare(one, {"group": [echo("ok")], "callback": echo("success"), "on_complete": echo("complete")})
    wait_over(one, flow)
    assert states(one, flow) == ["SUCCESS"] * 3
    flows.check(one)


def test_a_dead_job_that_is_retried_lets_its_flow_go_on(stack):
    one = stack().start(apis=0)
    one.query("UPDATE trial_counters SET id = 5000 WHERE id = 77")  # so tally 77 fails

    flow = declare(
        one,
        {"chain": [echo("a"), {"group": [tally(77, max_attempts=1), echo("b")]}, echo("c"), echo("d")]},
    )
    wait_over(one, flow, "FAILURE")
    dead = by_task(one, flow, "till.tasks.tally")[0]
    assert states(one, flow) == ["SUCCESS", "FAILURE", "SUCCESS", "REVOKED", "REVOKED"]

    one.query("UPDATE trial_counters SET id = 77 WHERE id = 5000")
    done = one.till("task", "retry", dead["id"])
    assert done.returncode == 0, done.stderr
    wait_over(one, flow)

    rows = members(one, flow)
    assert [row["state"] for row in rows] == ["SUCCESS"] * 5
    assert [row["attempt"] for row in rows] == [1, 2, 1, 1, 1]
    assert rows[3]["result"]["input"][1] == rows[2]["result"]
    assert one.value("SELECT total FROM trial_counters WHERE id = 77") == 1
    flows.check(one)


def test_a_retried_job_that_fails_again_stops_the_flow_again(stack):
    one = stack().start(apis=0)

    flow = declare(one, {"chain": [fail(), echo("a")]})
    wait_over(one, flow, "FAILURE")
    dead = members(one, flow)[0]
    one.query("UPDATE tasks SET max_attempts = 1 WHERE name = 'till.tasks.fail'")
    assert one.till("task", "retry", dead["id"]).returncode == 0
    wait_for(lambda: one.job(dead["id"])["attempt"] > dead["attempt"], 10, "never tried again")
    wait_over(one, flow, "FAILURE")

    assert states(one, flow) == ["FAILURE", "REVOKED"]
    flows.check(one)


def test_a_callback_fails_rather_than_get_a_part_of_its_input(stack):
    """Results of a failed flow may be deleted; a retry of its dead member gave the callback what was left of them."""
    one = stack().start(apis=0)
    flow = declare(one, {"group": [echo("a"), once(), echo("b")], "callback": echo("all")})
    wait_over(one, flow, "FAILURE")
    one.query("DELETE FROM jobs WHERE flow_id = %s AND flow_step = 1", flow)  # as the prune does

    assert one.till("task", "retry", by_task(one, flow, "till.tasks.fail")[0]["id"]).returncode == 0
    wait_for(lambda: by_task(one, flow, "till.tasks.fail")[0]["state"] == "SUCCESS", 10, "never tried again")
    wait_over(one, flow, "FAILURE")

    callback = members(one, flow)[-1]
    said = "of the 3 jobs before this one 1 were deleted, and with them what they gave: declare the flow anew"
    assert (callback["state"], callback["attempt"], callback["error"]) == ("FAILURE", 1, said)
    told = one.till("task", "retry", callback["id"])
    assert told.returncode == 1 and "jobs before it in its flow were deleted" in told.stderr


def test_an_input_that_cannot_be_read_says_whose_it_is(stack):
    """Each echo gives its input on, a level deeper."""
    one = stack().start(apis=0)
    flow = declare(one, {"chain": [echo(n) for n in range(40)]})
    wait_over(one, flow, "FAILURE")

    dead = [row for row in members(one, flow) if row["state"] == "FAILURE"]
    said = "what the jobs before this one gave cannot be read: JSON is nested deeper than 32 levels"
    assert [(row["attempt"], row["error"]) for row in dead] == [(1, said)]


def test_a_retry_heeds_only_what_the_job_needs(stack):
    """Of an earlier part of the flow somebody may want nothing any more."""
    one = stack().start(apis=0)
    flow = declare(one, {"chain": [echo("first"), {"group": [echo("a"), echo("b")]}, once(), echo("end")]})
    wait_over(one, flow, "FAILURE")
    one.query("DELETE FROM jobs WHERE flow_id = %s AND flow_step = 1", flow)

    told = one.till("task", "retry", by_task(one, flow, "till.tasks.fail")[0]["id"])
    assert told.returncode == 0, told.stderr
    wait_over(one, flow)


def test_what_depends_on_a_deleted_job_says_so(stack):
    one = stack().start(apis=0)
    flow = declare(one, {"group": [fail(), once()], "callback": echo("all")})
    wait_over(one, flow, "FAILURE")
    dead, other, callback = [row["id"] for row in members(one, flow)]
    assert one.till("dead", "delete", dead).returncode == 0
    assert one.till("dead", "retry", other).returncode == 0
    one.wait_job(other)
    wait_over(one, flow, "FAILURE")

    stopped = one.job(callback)
    assert (stopped["state"], stopped["error"]) == ("REVOKED", "depends on job (deleted), which did not succeed")


def test_what_was_stopped_can_not_be_made_to_run_before_its_turn(stack):
    one = stack().start(apis=0)
    flow = declare(one, {"chain": [fail(), echo("a")]})
    wait_over(one, flow, "FAILURE")
    stopped = members(one, flow)[1]

    dead = members(one, flow)[0]
    told = one.till("task", "retry", stopped["id"])
    assert told.returncode == 0
    reason = f"job {dead['id']} (till.tasks.fail), which failed"
    assert f"{stopped['id']} retried, but does not run yet: it waits for {reason}" in told.stdout
    flow2 = declare(one, {"chain": [echo("x"), echo("y")]})
    wait_over(one, flow2)  # time in which the scheduler would have delivered it

    again = one.job(stopped["id"])
    assert (again["state"], again["attempt"], again["waits"]) == ("PENDING", 0, True)
    flows.check(one)
    assert one.till("task", "revoke", stopped["id"]).returncode == 0
    wait_over(one, flow, "FAILURE")
    flows.check(one)
    told = json.loads(one.till("task", "retry", stopped["id"], "--json").stdout.splitlines()[0])
    assert told == {"id": stopped["id"], "done": "retried", "waits_for": reason}


def test_a_flow_tells_what_holds_a_member_up(stack):
    one = stack()
    flow = declare(one, {"chain": [echo("a"), echo("b"), echo("c")]})
    dead, second, third = [row["id"] for row in members(one, flow)]
    assert [m["waits_for"] for m in show(one, flow)["members"]] == [None] * 3
    assert one.till("flow", "show", flow).stdout.count("  (waits for others)\n") == 2
    assert one.till("task", "revoke", dead).returncode == 0
    assert one.till("task", "retry", second).returncode == 0

    reason = f"job {dead} (till.tasks.echo), which was revoked"
    assert [m["waits_for"] for m in show(one, flow)["members"]] == [None, reason, None]
    lines = one.till("flow", "show", flow).stdout.splitlines()
    assert lines[-2].endswith(f"till.tasks.echo  (waits for {reason}: retry that one)")
    assert lines[-1].endswith("till.tasks.echo  (waits for others)")


def test_a_member_that_expires_while_it_waits_stops_what_follows(stack):
    one = stack().start(apis=0)
    at = one.value("SELECT to_char(now() + interval '1 s', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")

    flow = declare(one, {"chain": [job("till.tasks.sleep", 2), echo(expires_at=at), echo()]})
    wait_over(one, flow, "FAILURE")

    rows = members(one, flow)
    assert [row["state"] for row in rows] == ["SUCCESS", "REVOKED", "REVOKED"]
    assert rows[1]["error"] == "expired" and str(rows[1]["id"]) in rows[2]["error"]
    flows.check(one)


def test_another_job_under_the_key_of_one_that_waits_does_not_make_it_run(stack):
    one = stack()
    flow = declare(one, {"chain": [echo("first"), echo("old", unique_key="k")]})
    waits = members(one, flow)[1]["id"]

    done = one.till("enqueue", "till.tasks.echo", '["new"]', "--unique", "k", "--on-conflict", "replace")
    assert done.stdout.split()[0] == waits, done.stderr

    assert one.job(waits)["enqueued_at"] is None
    shown = json.loads(one.till("task", "show", waits, "--json").stdout)
    assert (shown["flow"], shown["flow_step"], shown["waits"]) == (flow, 2, True)
    one.start(apis=0)
    wait_over(one, flow)
    first, second = members(one, flow)
    assert second["started_at"] >= first["finished_at"] and second["result"]["args"] == ["new"]
    flows.check(one)


# ---- revoke and cancel ----


def test_a_revoked_member_stops_what_depends_on_it(stack):
    one = stack()
    flow = declare(one, {"chain": [echo("a"), echo("b"), echo("c")]})
    rows = members(one, flow)

    assert one.till("task", "revoke", rows[1]["id"]).returncode == 0
    assert states(one, flow) == ["PENDING", "REVOKED", "PENDING"]
    flows.check(one)
    one.start(apis=0)
    wait_over(one, flow, "FAILURE")

    rows = members(one, flow)
    assert [row["state"] for row in rows] == ["SUCCESS", "REVOKED", "REVOKED"]
    assert rows[1]["error"] == "revoked"
    assert rows[2]["error"] == f"depends on job {rows[1]['id']} (till.tasks.echo), which was revoked"
    assert one.till("task", "retry", rows[1]["id"]).returncode == 0
    wait_over(one, flow)
    flows.check(one)


def test_a_cancelled_flow_stops_all_of_it_and_goes_on_when_a_job_is_retried(stack):
    one = stack().start(apis=0)
    flow = declare(
        one,
        {
            "chain": [
                {"group": [job("till.tasks.sleep", 30), echo("a")], "on_complete": echo("tell")},
                echo("b"),
                echo("c"),
            ]
        },
    )
    sleeper = by_task(one, flow, "till.tasks.sleep")[0]["id"]
    one.wait_job(sleeper, "STARTED")
    wait_for(lambda: "SUCCESS" in states(one, flow), 10, "the other member never ended")

    done = one.till("flow", "cancel", flow, "--json")
    assert done.returncode == 0, done.stderr
    one.worker.wait_for_log("job_not_ours", timeout=3, revoked=True)  # the sleeper hears it at once

    wait_over(one, flow, "REVOKED")
    rows = members(one, flow)
    assert [row["state"] for row in rows] == ["REVOKED", "SUCCESS", "REVOKED", "REVOKED", "REVOKED"]
    assert {row["error"] for row in rows if row["state"] == "REVOKED"} == {"its flow was cancelled"}
    assert show(one, flow)["state"] == "REVOKED"
    refused = one.till("flow", "cancel", flow)
    assert refused.returncode == 1 and "is over: REVOKED" in refused.stderr
    flows.check(one)

    one.query("UPDATE jobs SET args = '[0]' WHERE id = %s", sleeper)
    assert one.till("task", "retry", sleeper).returncode == 0
    wait_over(one, flow)
    flows.check(one)


def test_a_flow_with_a_member_retried_before_its_turn_is_cancelled_as_a_whole(stack):
    """What waits there is woken by nobody: the cancel said "2 jobs still change" for ever."""
    one = stack().start(apis=0, dashboards=1)
    url = one.dashboard.url + "/api/v1/flows/{}/cancel"
    for cancel in (
        lambda flow: one.till("flow", "cancel", flow).returncode == 0,
        lambda flow: requests.post(url.format(flow), json={}, timeout=30).json() == {"changed": 1, "more": False},
    ):
        flow = declare(one, {"chain": [fail(), echo("a"), {"group": [echo("b"), echo("c")], "callback": echo("d")}]})
        wait_over(one, flow, "FAILURE")
        assert one.till("task", "retry", members(one, flow)[1]["id"]).returncode == 0
        assert states(one, flow) == ["FAILURE"] + ["PENDING"] * 4

        assert cancel(flow)

        wait_over(one, flow, "REVOKED")
        assert states(one, flow) == ["FAILURE"] + ["REVOKED"] * 4
        flows.check(one)


def test_what_was_retried_in_a_flow_that_has_lost_jobs_can_be_cancelled(stack):
    """The flow stays over, since what was behind it is gone; and the cancel said that it was over."""
    one = stack().start(apis=0, dashboards=1)
    cancels = [
        lambda flow: one.till("flow", "cancel", flow).returncode,
        lambda flow: requests.post(f"{one.dashboard.url}/api/v1/flows/{flow}/cancel", json={}, timeout=30).json(),
    ]
    for cancel, done in zip(cancels, [0, {"changed": 1, "more": False}]):
        flow = declare(one, {"chain": [fail(), echo("b"), echo("c"), echo("d")]})
        wait_over(one, flow, "FAILURE")
        one.query("DELETE FROM jobs WHERE flow_id = %s AND flow_step = 3", flow)
        assert one.till("task", "retry", members(one, flow)[1]["id"]).returncode == 0
        assert states(one, flow) == ["FAILURE", "PENDING", "REVOKED"]

        assert cancel(flow) == done

        assert states(one, flow) == ["FAILURE", "REVOKED", "REVOKED"]
        assert one.till("flow", "cancel", flow).returncode == 1


def test_a_flow_of_ten_thousand_is_cancelled_as_a_whole(stack):
    one = stack()
    flow = declare(one, {"chain": [{"group": [echo(n) for n in range(10000)]}, echo("end")]})

    assert one.till("flow", "cancel", flow).returncode == 0

    assert show(one, flow, "--limit", 1)["counts"]["REVOKED"] == 10001
    assert one.value("SELECT outcome::text FROM flows WHERE id = %s", flow) == "REVOKED"
    flows.check(one)


def test_a_cancel_that_is_killed_half_way_is_finished_by_the_scheduler(stack):
    """The flow was marked, and the jobs that the cancel had not come to ran on, until somebody cancelled again."""
    one = stack()
    flow = declare(one, {"chain": [{"group": [echo("a"), echo("b")]}, echo("end")]})
    locked = members(one, flow)[1]["id"]
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'till'"
    with contextlib.closing(one.postgres.connect(one.database)) as holder:
        holder.cursor().execute("BEGIN; SELECT FROM jobs WHERE id = %s FOR UPDATE", (locked,))
        cancel = programs.Program("till", one.settings, f"{one.folder}/cancel.log", ["flow", "cancel", flow]).start()
        one.programs.append(cancel)
        wait_for(lambda: states(one, flow)[0] == "REVOKED", 20, "the cancel has not begun")
        cancel.kill()
        wait_for(lambda: one.value(sessions) == 0, 20, "its session does not end")
    assert states(one, flow) == ["REVOKED", "PENDING", "PENDING"]
    one.query("UPDATE flows SET cancelled_at = cancelled_at - interval '10 s'")  # its caller is gone

    one.start_scheduler()

    wait_over(one, flow, "REVOKED")
    assert states(one, flow) == ["REVOKED"] * 3
    assert {row["error"] for row in members(one, flow)} == {"its flow was cancelled"}
    flows.check(one)


# ---- declaring ----


def test_a_flow_is_declared_in_the_transaction_of_its_data(stack):
    one = stack().start(apis=0)
    connection = one.postgres.connect(one.database)
    connection.autocommit = False
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT till_chain(%s, 'gone')", [json.dumps([echo("a"), echo("b")])])
        connection.rollback()
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT till_group(%s, %s, 'kept', on_complete => %s)",
            [json.dumps([echo("a"), echo("b")]), json.dumps(echo("cb")), json.dumps(echo("oc"))],
        )
        flow = cursor.fetchone()[0]
        assert one.value("SELECT count(*) FROM jobs") == 0
    connection.close()

    wait_over(one, flow)
    assert [r["name"] for r in one.query("SELECT name FROM flows")] == ["kept"]
    assert states(one, flow) == ["SUCCESS"] * 4


DEEP = echo("deep")
for _ in range(9):
    DEEP = {"chain": [DEEP]}

WRONG = [
    ({}, 'flow must be an object with one of "task", "chain" and "group"'),
    ([echo()], 'flow must be an object with one of "task", "chain" and "group"'),
    ({"chain": [], "group": []}, "must be an object with one of"),
    ({"chain": []}, 'flow "chain" is empty'),
    ({"chain": {}}, 'flow "chain" must be an array'),
    ({"group": [echo(), {"chain": [echo(), 7]}]}, "flow.group[1].chain[1] must be an object"),
    ({"chain": [echo()], "callback": echo()}, 'has "callback", which a chain cannot have'),
    ({"chain": [echo(countdown=3)]}, 'flow.chain[0] has "countdown", which a job cannot have'),
    ({"chain": [echo(name="x")]}, 'has "name", which a job cannot have'),
    ({"chain": [{"task": "no name"}]}, "flow.chain[0]"),
    ({"chain": [echo(queue="no name")]}, "flow.chain[0]"),
    ({"chain": [{"task": "t", "args": {}}]}, "flow.chain[0]"),
    ({"chain": [{"task": "t", "kwargs": []}]}, "flow.chain[0]"),
    ({"chain": [echo(priority=3)]}, "flow.chain[0]"),
    ({"chain": [echo(max_attempts=0)]}, "flow.chain[0]"),
    ({"chain": [echo(id="x")]}, "flow.chain[0]"),
    ({"chain": [echo(headers={"a": 1})]}, "flow.chain[0]"),
    ({"group": [echo()], "callback": {"chain": []}}, 'flow.callback "chain" is empty'),
    ({"name": "", "chain": [echo()]}, "the name of a flow is 1 to 200 bytes"),
    ({"name": "x" * 201, "chain": [echo()]}, "the name of a flow is 1 to 200 bytes"),
    ({"name": 5, "chain": [echo()]}, "the name of a flow is 1 to 200 bytes"),
    ({"chain": [echo(), echo(scheduled_at="soon")]}, "flow.chain[1]"),
    ({"chain": [echo(scheduled_at="2030-02-30T00:00:00Z")]}, "flow.chain[0]"),
    ({"chain": [echo(expires_at="infinity")]}, "flow.chain[0]"),
    ({"chain": [echo(scheduled_at="2030-01-01T00:00:00")]}, "flow.chain[0]"),
    ({"chain": [echo(), echo(expires_at="2030-01-01")]}, "flow.chain[1]"),
    ({"chain": [echo(scheduled_at="tomorrow")]}, "flow.chain[0]"),
    ({"chain": [echo(limit_key="")]}, "flow.chain[0]"),
    ({"chain": [echo(limit_key="a\nb")]}, "flow.chain[0]"),
    ({"chain": [echo(unique_key="")]}, "flow.chain[0]"),
    ({"chain": [echo(priority=1.0)]}, "flow.chain[0]"),
    ({"chain": [echo(priority="1")]}, "flow.chain[0]"),
    ({"chain": [echo(priority=None)]}, "flow.chain[0]"),
    ({"chain": [echo(max_attempts=1.5)]}, "flow.chain[0]"),
    ({"chain": [echo(retention_s=999999999)]}, "flow.chain[0]"),
    ({"chain": [echo(headers={"time_limit": "soon"})]}, "flow.chain[0]"),
    ({"chain": [echo(traceparent="x")]}, "flow.chain[0]"),
    ({"chain": [{"task": "t", "args": None}]}, "flow.chain[0]"),
    (DEEP, "is nested deeper than 8 levels"),
    ({"group": [echo()] * 10001}, 'flow "group" has more than 10000 members'),
    ({"chain": [{"group": [echo()] * 10000}, {"group": [echo()] * 10000}, echo()]}, "at most 20000 jobs"),
]


@pytest.mark.parametrize("flow, text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_flow_is_refused_whole_by_the_shell_and_by_sql(stack, flow, text):
    one = stack()

    refused = one.till("flow", "run", "-", stdin=json.dumps(flow))
    with pytest.raises(psycopg2.Error) as by_sql:
        one.query("SELECT till_flow(%s)", json.dumps(flow))

    assert refused.returncode == 2 and text in refused.stderr, refused.stderr
    assert by_sql.value.pgcode == "22023" and text in str(by_sql.value)
    assert one.value("SELECT count(*) FROM jobs") == one.value("SELECT count(*) FROM flows") == 0


def test_times_as_postgresql_writes_them_are_taken_by_sql_in_every_zone(stack):
    one = stack()
    for number, written in enumerate(("t::text", "to_jsonb(t)", "'2030-01-01T00:00:00z'", "'2030-01-01 01:30:00.0+01:30'")):
        got = one.value(
            f"SET timezone = 'Asia/Kolkata'; WITH made AS (SELECT till_flow(jsonb_build_object('chain', jsonb_build_array("
            f"jsonb_build_object('task', 'a', 'scheduled_at', {written})))) AS id FROM (VALUES (timestamptz '2030-01-01Z')) AS v(t))"
            " SELECT id FROM made"
        )
        assert one.value("SELECT scheduled_at = '2030-01-01Z' FROM jobs WHERE flow_id = %s", got), written
        assert one.value("SELECT count(*) FROM jobs") == number + 1


def test_the_id_of_a_flow_that_exists_is_told(stack):
    one = stack()
    flow = one.value("""SELECT till_flow('{"task": "a"}')""")
    with pytest.raises(psycopg2.errors.UniqueViolation, match=f"the id is that of a flow that exists: {flow}"):
        one.query("""SELECT till_flow('{"task": "b"}', NULL, %s)""", flow)
    assert one.value("SELECT count(*) FROM jobs") == 1


def test_what_only_one_job_can_have_is_told_with_its_place(stack):
    one = stack()
    taken = str(uuid.uuid4())
    assert one.till("enqueue", "any.task", "--id", taken, "--unique", "k").returncode == 0

    def refuse(*jobs):
        with pytest.raises(psycopg2.Error) as error:
            one.query("SELECT till_flow(%s)", json.dumps({"chain": [echo(), {"group": list(jobs)}]}))
        return error.value.pgcode, error.value.diag.constraint_name, error.value.diag.message_primary

    new = str(uuid.uuid4())
    assert refuse(echo(id=new), echo(id=new.upper())) == (
        "22023", None, 'flow.chain[1].group[1] "id" is that of flow.chain[1].group[0], too',
    )  # fmt: skip
    assert refuse(echo(unique_key="a"), echo(), echo(unique_key="a")) == (
        "22023", None, 'flow.chain[1].group[2] "unique_key" is that of flow.chain[1].group[0], too',
    )  # fmt: skip
    assert refuse(echo(id=taken)) == (
        "23505", "jobs_pkey", f'flow.chain[1].group[0] "id" is that of a job that exists: {taken}',
    )  # fmt: skip
    assert refuse(echo(), echo(unique_key="k")) == (
        "23505", "jobs_unique_key", f'flow.chain[1].group[1] "unique_key" "k" is held by job {taken}',
    )  # fmt: skip
    for member, code, said in (
        (echo(id=taken), 1, f'flow.chain[0] "id" is that of a job that exists: {taken}'),
        (echo(unique_key="k"), 1, f'flow.chain[0] "unique_key" "k" is held by job {taken}'),
        ({"group": [echo(id=new), echo(id=new)]}, 2, 'flow.chain[0].group[1] "id" is that of flow.chain[0].group[0], too'),
    ):
        told = one.till("flow", "run", "-", stdin=json.dumps({"chain": [member]}))
        assert (told.returncode, told.stderr) == (code, f"till: {said}\n")
    assert one.value("SELECT count(*) FROM jobs") == 1 and one.value("SELECT count(*) FROM flows") == 0


def test_members_carry_what_any_job_may(stack):
    one = stack()
    made = str(uuid.uuid4())
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    flow = declare(
        one,
        {
            "group": [
                {
                    "task": "a.b",
                    "args": [1],
                    "kwargs": {"k": None},
                    "queue": "q",
                    "priority": "high",
                    "max_attempts": 3,
                    "id": made,
                    "headers": {"h": "v"},
                    "traceparent": trace,
                    "retention_s": 60,
                    "unique_key": "u",
                    "limit_key": "tenant:7",
                    "expires_at": "2099-01-01T00:00:00Z",
                },
                {"task": "till.tasks.sleep", "priority": 2},
            ]
        },
    )
    row, other = members(one, flow)
    assert row["id"] == made
    assert [row[k] for k in ("task", "args", "kwargs", "queue", "priority", "max_attempts")] == [
        "a.b", [1], {"k": None}, "q", 0, 3,
    ]
    assert [row[k] for k in ("headers", "traceparent", "retention_s", "unique_key", "limit_key")] == [
        {"h": "v"}, trace, 60, "u", "tenant:7",
    ]
    assert other["priority"] == 2
    twice = one.till("flow", "run", "-", stdin=json.dumps({"chain": [echo(unique_key="u")]}))
    assert twice.returncode == 1
    assert one.value("SELECT count(*) FROM flows") == 1


# ---- looking ----


def test_flows_are_listed_and_their_members_page_by_page(stack):
    one = stack().start(apis=0)
    flows_made = [declare(one, {"group": [echo(n) for n in range(5)]}, name=f"f{k}") for k in range(3)]
    for flow in flows_made:
        wait_over(one, flow)
    open_one = declare(one, {"chain": [job("till.tasks.sleep", 60), echo()]})

    def listed(*words):
        done = one.till("flow", "list", "--json", *words)
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["id"] for line in done.stdout.splitlines()]

    assert set(listed()) == {*flows_made, open_one}
    assert listed("--open") == [open_one]
    first = listed("--limit", 3)
    assert first + listed("--after", first[-1]) == listed()
    page = show(one, flows_made[0], "--limit", 2)
    rest = show(one, flows_made[0], "--after", page["next"])
    assert [m["step"] for m in page["members"] + rest["members"]] == [1, 2, 3, 4, 5]
    assert rest["next"] is None
    people = one.till("flow", "show", open_one)
    assert "1 wait for others" in people.stdout and "(waits for others)" in people.stdout
    assert one.till("flow", "show", str(uuid.uuid4())).returncode == 1
    assert one.till("flow", "show", "x").returncode == 2
    assert one.till("flow", "cancel", open_one).returncode == 0


def test_run_waits_for_the_end_and_tells_it(stack):
    one = stack().start(apis=0)

    done = one.till("flow", "run", "-", "--wait", stdin=json.dumps({"chain": [echo("a"), echo("b")]}))
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stderr
    done = one.till("flow", "run", "-", "--wait", stdin=json.dumps({"chain": [fail(), echo("b")]}))
    assert done.returncode == 1 and "FAILURE" in done.stdout
    done = one.till(
        "flow", "run", "-", "--wait", "--timeout", 1,
        stdin=json.dumps({"chain": [job("till.tasks.sleep", 5)]}),
    )
    assert done.returncode == 1 and "not over after 1 s" in done.stderr


def test_a_copy_of_a_member_gets_what_the_original_got(stack):
    """A member that was run again as a new task was given null."""
    one = stack().start(apis=0, dashboards=1)
    flow = declare(one, {"chain": [echo("a"), echo("b")]})
    wait_over(one, flow)
    first, second = members(one, flow)
    order = lambda path, body: requests.post(f"{one.dashboard.url}/api/v1/tasks{path}", json=body, timeout=30)  # noqa: E731

    edited = order(f"/{second['id']}/replay", {"args": ["edited"]}).json()["id"]
    assert one.wait_job(edited)["result"] == {"args": ["edited"], "input": first["result"]}
    for parent in (second["id"], edited):
        assert order("", {"action": "replay", "ids": [parent]}).json()["changed"] == 1
        copy = one.value("SELECT job_id FROM job_replays WHERE parent_id = %s ORDER BY made_at DESC LIMIT 1", parent)
        assert one.wait_job(copy)["result"]["input"] == first["result"]
    alone = order(f"/{first['id']}/replay", {}).json()["id"]
    assert one.wait_job(alone)["result"]["input"] is None

    one.query("DELETE FROM jobs WHERE id = %s", first["id"])
    late = one.wait_job(order(f"/{second['id']}/replay", {}).json()["id"], "FAILURE")
    assert late["error"].startswith("of the 1 jobs before this one 1 were deleted")
    one.query("DELETE FROM jobs WHERE id = %s", second["id"])
    late = one.wait_job(order(f"/{edited}/replay", {}).json()["id"], "FAILURE")
    assert late["error"] == "the job that this is a copy of was deleted, and with it what it was given"


def test_an_input_that_is_too_large_is_an_error_that_says_so(stack):
    one = stack().start(apis=0)
    flow = declare(one, {"group": [echo() for _ in range(150)], "callback": echo(max_attempts=1, queue="later")})
    wait_for(lambda: states(one, flow) == ["SUCCESS"] * 150 + ["PENDING"], 40, "the group is not over")
    # As if each had been large: to declare nine megabytes takes a busy machine longer than a statement may.
    one.query("UPDATE jobs SET result = jsonb_build_object('args', repeat('x', 60000)) WHERE state = 'SUCCESS'")
    one.start_worker(TILL_QUEUES="later")
    wait_over(one, flow, "FAILURE", timeout=40)

    assert "more than 8388608" in members(one, flow)[-1]["error"]


# ---- flows that a job declares ----


def added_by(one, *args):
    """The flows that there are once a job has ended that was told to add one."""
    added = one.enqueue("till.tasks.flow", *args)
    one.wait_job(added, "SUCCESS", "FAILURE")
    return [str(row["id"]) for row in one.query("SELECT id FROM flows")]


def test_a_task_adds_a_flow_with_its_own_success(stack):
    one = stack().start(apis=0)

    [flow] = added_by(one, {"chain": [echo("a"), echo("b")]})

    wait_over(one, flow)
    assert one.value("SELECT result FROM jobs WHERE task = 'till.tasks.flow'") == {"flow": flow}
    assert [row["args"] for row in members(one, flow)] == [["a"], ["b"]]
    flows.check(one)


def test_jobs_of_a_flow_that_a_traced_job_adds_belong_to_its_trace(stack):
    one = stack().start(apis=0)
    trace, own = (f"00-{digit * 32}-{digit * 16}-01" for digit in "12")
    group = {"group": [echo(), {"task": "till.tasks.echo", "traceparent": own}], "callback": echo(), "on_complete": echo()}
    made = one.enqueue("till.tasks.flow", {"chain": [echo(), group]}, traceparent=trace)
    flow = one.wait_job(made)["result"]["flow"]
    wait_over(one, flow)

    assert sorted(row["traceparent"] for row in one.query("SELECT traceparent FROM jobs WHERE flow_id = %s", flow)) == [
        *[trace] * 4, own
    ]


@pytest.mark.parametrize(("end", "attempts"), [("retry", 3), ("fail", 1)])
def test_a_task_that_fails_adds_no_job(stack, end, attempts):
    """Whether or not it has begun a transaction before."""
    one = stack().start(apis=0)
    made = one.enqueue("till.tasks.flow", "till.tasks.noop", end)
    row = one.wait_job(made, "FAILURE", timeout=60)

    assert row["attempt"] == attempts
    assert one.value("SELECT count(*) FROM jobs") == 1, "what a failed attempt added is rolled back"


def test_a_task_adds_a_job_with_its_own_success(stack):
    one = stack().start(apis=0)
    one.wait_job(one.enqueue("till.tasks.flow", "till.tasks.noop"))

    one.wait_settled()
    assert one.value("SELECT count(*) FROM jobs WHERE task = 'till.tasks.noop' AND state = 'SUCCESS'") == 1


@pytest.mark.parametrize("args", [({"chain": [echo()]}, "fail"), ({"chain": []},), ("no flow",)])
def test_a_task_that_fails_adds_none(stack, args):
    one = stack().start(apis=0)

    assert added_by(one, *args) == []

    assert one.value("SELECT count(*) FROM jobs") == 1
    assert one.value("SELECT state::text FROM jobs") == "FAILURE"
