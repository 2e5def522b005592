from __future__ import annotations

import structlog

from dstmrouter.daemon.server_alarms import AlarmWatch
from tests.leases.lending import book_of, wish


def test_a_crossing_is_logged_once_and_shown_while_it_lasts() -> None:
    book = book_of(10)
    watch = AlarmWatch(book)
    with structlog.testing.capture_logs() as logs:
        for number in range(8):
            book.grant(wish(number), 0.0)
            watch.look()
        watch.look()
        assert watch.describe() == [{"used_percent": 80.0, "alarm_percent": 80}]
        book.grant(wish(8), 0.0)
        book.grant(wish(9), 0.0)
        assert watch.describe() == [{"used_percent": 100.0, "alarm_percent": 95}]
        book.expire(100.0)
        book.expire(130.0)
        book.expire(1000.0)
        assert watch.describe() == [{"used_percent": 0.0, "alarm_percent": None}]
    assert [(log["log_level"], log["alarm_percent"], log["used_percent"]) for log in logs] == [
        ("warning", 80, 80.0),
        ("warning", 95, 100.0),
        ("info", None, 0.0),
    ]
    assert {log["pool"] for log in logs} == {"main"}
