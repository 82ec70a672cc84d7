"""A real S3 server for tests (moto's), in a process of its own, which can be told to be busy.

python -m tests.store.s3_server PORT
"""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.fs as pafs

from tests.waiting import wait_until

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_BUSY = "/busy/"
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"
_requests = count(1)
_every = [0]


@contextmanager
def s3_server(**environment: str) -> Iterator[str]:
    """Run a server with an empty bucket, `bucket`, and yield its http address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.s3_server", str(port)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(address), alive=lambda: process.poll() is None)
        store = pafs.S3FileSystem(
            access_key=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            secret_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            endpoint_override=address,
            allow_bucket_creation=True,
        )
        store.create_dir("bucket")
        yield address
    finally:
        process.terminate()
        process.wait()


def root_on(address: str, path: str) -> str:
    """Return the address of a root on a server."""
    return f"s3://{path}?endpoint_override={quote(address, safe='')}&scheme=http"


def be_busy(address: str, every: int) -> None:
    """Let a server refuse every so-manieth request, as a busy one does; 0: none."""
    urllib.request.urlopen(f"{address}{_BUSY}{every}", timeout=10).close()


def _answers(address: str) -> bool:
    try:
        be_busy(address, 0)
    except OSError:
        return False
    return True


def _run(port: int) -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    run_simple(
        "127.0.0.1", port, _Busy(DomainDispatcherApplication(create_backend_app)), threaded=True
    )


class _Busy:
    """Answers in the server's place where that is to be busy."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith(_BUSY):
            _every[0] = int(path.removeprefix(_BUSY))
            start_response("200 OK", [("Content-Length", "0")])
            return [b""]
        if _every[0] and next(_requests) % _every[0] == 0:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            size = str(len(_SLOW_DOWN))
            start_response(
                "503 Slow Down", [("Content-Type", "text/xml"), ("Content-Length", size)]
            )
            return [_SLOW_DOWN]
        return self._application(environ, start_response)


if __name__ == "__main__":
    _run(int(sys.argv[1]))
