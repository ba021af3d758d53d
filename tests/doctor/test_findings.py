from vaekit.doctor.findings import Finding, skipped, worst


def test_the_worst_counts() -> None:
    ok, warning, wrong = (Finding("a", status, "") for status in ("ok", "warning", "wrong"))
    assert worst([ok, wrong, warning]) == "wrong"
    assert worst([ok, warning, skipped("b", "why")]) == "warning"
    assert worst([skipped("b", "why"), ok]) == "ok"
    assert worst([skipped("b", "why")]) == worst([]) == "skipped"
