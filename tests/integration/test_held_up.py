"""What waits holds nobody else up, and takes nothing away from it."""

import requests

from harness import flows
from harness.flows import declare, echo, fail, job, members, wait_over
from harness.wait import wait_for


def test_a_dead_member_is_not_deleted_from_a_flow_that_is_not_over(stack):
    one = stack({"TILL_RETRY_BASE_MS": 600000, "TILL_RETRY_MAX_SECONDS": 600}).start(apis=0, dashboards=1)
    flow = declare(
        one,
        {"group": [fail(), job("till.tasks.fail", max_attempts=2)], "callback": echo("c"), "on_complete": echo("d")},
    )
    wait_for(lambda: [row["state"] for row in members(one, flow)][:2] == ["FAILURE", "RETRY"], 20, "no dead member")
    dead = str(members(one, flow)[0]["id"])
    alone = one.insert_job("till.tasks.fail", max_attempts=1)
    one.wait_job(alone, "FAILURE")

    by_id = one.till("dead", "delete", dead)
    many = one.till("dead", "delete", "--all")
    shown = requests.post(f"{one.dashboard.url}/api/v1/tasks/{dead}/delete", json={}, timeout=30)

    assert (by_id.returncode, by_id.stdout) == (1, "0 jobs deleted\n")
    assert f"job {dead} belongs to flow {flow}, which is not over" in by_id.stderr
    assert (many.returncode, many.stdout) == (0, "1 job deleted\n")
    assert "1 job was not deleted: its flow is not over" in many.stderr
    assert (shown.status_code, "flow that is not over" in shown.json()["detail"]) == (409, True)
    assert one.job(dead) is not None and one.job(alone) is None
    assert one.till("task", "revoke", members(one, flow)[1]["id"]).returncode == 0
    wait_over(one, flow, "FAILURE")
    assert [row["state"] for row in members(one, flow)] == ["FAILURE", "REVOKED", "REVOKED", "SUCCESS"]
    flows.check(one)
    assert one.till("dead", "delete", dead).returncode == 0
