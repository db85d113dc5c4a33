"""The table of the fault tests: what several tests, in several processes, said of one fault is added up."""

import json

from harness import faults_report


def test_lines_of_one_fault_are_added_up_and_the_slowest_recovery_counts(tmp_path, monkeypatch):
    path = tmp_path / "lines"
    monkeypatch.setenv("FAULTS_REPORT", str(path))
    faults_report.record("Redis killed", rounds=2, jobs=10, recovery_s=[0.5, 1.25], seed=7)
    faults_report.record("clock set back", jobs=4, lost=1)
    faults_report.record("Redis killed", rounds=1, jobs=5, doubled=1, recovery_s=0.75, seed=8)

    rows = faults_report.publish(str(path), str(tmp_path / "out"))

    assert [row["fault"] for row in rows] == ["Redis killed", "clock set back"]
    assert rows[0] == {
        "fault": "Redis killed", "rounds": 3, "jobs": 15, "lost": 0, "doubled": 1, "recovery_s": 1.25,
        "seed": "7 8",
    }
    assert rows[1]["recovery_s"] is None and rows[1]["lost"] == 1
    assert json.loads((tmp_path / "out" / "faults.json").read_text()) == rows
    last = (tmp_path / "out" / "faults.md").read_text().splitlines()[-1]
    assert [cell.strip() for cell in last.split("|")[1:-1]] == ["all", "4", "19", "1", "1", "1.2", ""]


def test_what_has_no_row_stands_beneath_the_table(tmp_path):
    faults_report.publish(str(tmp_path / "none"), str(tmp_path), ["failed: test_x"])

    assert (tmp_path / "faults.md").read_text().splitlines()[-1] == "- failed: test_x"


def test_without_a_file_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("FAULTS_REPORT", raising=False)
    monkeypatch.chdir(tmp_path)

    faults_report.record("Redis killed")

    assert list(tmp_path.iterdir()) == []
