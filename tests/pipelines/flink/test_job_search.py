"""Finding the Flink that runs a job among the ports where it may answer."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from pipelines.flink.job import FlinkJob
from pipelines.flink.job_server import JobServer


class _Grpc(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(1024)
        self.request.sendall(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00 settings of another protocol\r\n\r\n")


class _Flink(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        jobs = {"jobs": [{"jid": "a1", "name": "wayline-7", "state": "RUNNING"}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(jobs).encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"localhost:{server.server_address[1]}"
        server.shutdown()


def test_a_port_of_the_range_that_another_program_took_is_passed_over() -> None:
    with serving(_Grpc) as other, serving(_Flink) as flink:
        server = SimpleNamespace(rest_addresses=[other, flink], check=lambda: None, log="log")
        job = FlinkJob(SimpleNamespace(_job_id="wayline-7_c0ffee"), cast(JobServer, server))
        assert job._find() == (flink, "a1")
