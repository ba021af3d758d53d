"""Metrics in Prometheus' text format."""

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient


def test_requests_are_counted_by_route_and_status(client: TestClient, photo: bytes) -> None:
    assert client.post("/encode", content=photo).status_code == 200
    assert client.post("/encode", content=b"x").status_code == 422
    assert client.get("/api/vaes/small").status_code == 200
    for unknown in ("/a", "/b"):
        client.get(unknown)
    client.get("/health", headers={"Host": "evil.example"})
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }

    def requests(method: str, route: str, status: str) -> float:
        return samples["vaekit_requests_total", (("method", method), ("route", route), ("status", status))]

    assert requests("POST", "/encode", "200") == requests("POST", "/encode", "422") == 1
    assert requests("GET", "/api/vaes/{vae}", "200") == 1
    assert not any("/a" in labels for _, labels in samples), "paths of clients are no labels"
    assert samples["vaekit_items_total", (("direction", "encode"), ("vae", "small"))] == 1
    assert samples["vaekit_refused_total", (("error", "unknown_host"),)] == 1
    assert samples["vaekit_resident_bytes", ()] > 2**20
    assert samples["vaekit_waiting", ()] == 0
