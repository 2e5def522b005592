from __future__ import annotations

from typing import Any

from dstmrouter.cli.ctl_ports import counter_rows, queue_rows

PORT: dict[str, Any] = {
    "name": "eth0",
    "vlan": None,
    "link": {"up": True, "mtu": 1500, "mac": "02:00:00:00:00:01"},
    "queues": [
        {
            "worker": worker,
            "mode": "native-copy",
            "notes": ["a long story"],
            "held": {"fill": 4000, "rx": 0},
            "statistics": {"rx_dropped": worker * 3, "rx_ring_full": 0},
        }
        for worker in (0, 1)
    ],
}


def test_a_row_for_each_queue() -> None:
    rows = queue_rows([PORT])
    assert [(row["port"], row["worker"], row["fill"]) for row in rows] == [
        ("eth0", 0, 4000),
        ("eth0", 1, 4000),
    ]
    assert rows[0]["link"] == "up, mtu 1500, 02:00:00:00:00:01"
    assert "notes" not in rows[0]


def test_a_port_without_link_and_queues_has_a_row() -> None:
    (row,) = queue_rows([{"name": "eth1", "link": None, "queues": []}])
    assert (row["port"], row["link"]) == ("eth1", None)


def test_only_counters_that_have_counted() -> None:
    assert counter_rows([PORT]) == [
        {"port": "eth0", "worker": 1, "counter": "rx_dropped", "count": 3}
    ]


def test_filters_are_shown_where_there_are_any() -> None:
    filtered = PORT | {"filter_in": "udp", "filter_out": ""}
    rows = queue_rows([filtered, PORT])
    assert [row.get("filter_in") for row in rows] == ["udp", "udp", None, None]
    assert "filter_out" not in rows[0]
