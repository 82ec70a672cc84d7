"""Ray Jobs: send a command to a cluster, follow its log, tell how it ended."""

import asyncio
import logging
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientError
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from wd.errors import UserError

_CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
_POLL_SECONDS = 0.5
_SILENT_POLLS = 20


@dataclass(frozen=True)
class JobEnd:
    """How a job ended."""

    status: str
    """SUCCEEDED, FAILED or STOPPED."""
    exit_code: int
    """The command's own, or 1 where it has none (stopped, or never started)."""
    message: str


class Jobs:
    """The jobs of the cluster whose dashboard is at `address` (http://HOST:PORT).

    A cluster with token authentication is reached with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or
    RAY_AUTH_TOKEN_PATH in the environment before Ray is first imported.
    Raises UserError if nothing answers there, or if the token is refused.
    """

    def __init__(self, address: str) -> None:
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._address = address
        if not address.startswith(("http://", "https://")):
            raise UserError(f"cluster {address}: give the dashboard's address, as http://HOST:8265")
        try:
            self._client = JobSubmissionClient(address)
        except AuthenticationError as error:
            raise UserError(f"cluster {address}: {str(error).splitlines()[0]}") from None
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"cluster {address}: no Ray dashboard answers: {error}") from None

    def submit(
        self,
        command: Sequence[str],
        working_dir: Path,
        environment: Mapping[str, str],
        requirements: Path | None = None,
    ) -> str:
        """Ship `working_dir`, start `command` in its copy on the cluster, return the job's id.

        The nodes first install what the file `requirements` says. Raises UserError if the cluster
        does not take the job.
        """
        files: dict[str, Any] = {"working_dir": str(working_dir), "env_vars": dict(environment)}
        if requirements is not None:
            files["pip"] = str(requirements)
        try:
            job = self._client.submit_job(entrypoint=shlex.join(command), runtime_env=files)
        except (OSError, RuntimeError, ValueError) as error:
            why = str(error).rstrip(".\n").splitlines()[-1]  # after the cluster's own traceback
            raise UserError(f"cluster {self._address}: did not take the job: {why}") from None
        return str(job)

    def follow(self, job: str, write: Callable[[str], object]) -> JobEnd:
        """Pass the job's log on while it runs; return how it ended.

        Raises UserError if the cluster stays silent.
        """
        written, silent = 0, 0
        while True:
            written, complete = self._tail(job, written, write)
            try:
                info = self._client.get_job_info(job)
                silent = 0
            except (OSError, RuntimeError) as error:
                silent += 1
                if silent == _SILENT_POLLS:
                    raise UserError(f"job {job}: its cluster stopped answering: {error}") from None
            else:
                if complete and info.status.is_terminal():
                    break
            time.sleep(_POLL_SECONDS)
        if info.status == JobStatus.SUCCEEDED:
            return JobEnd("SUCCEEDED", 0, "")
        # Ray repeats the end of the log in its message.
        message = (info.message or "").partition(", last available logs")[0]
        return JobEnd(info.status.value, info.driver_exit_code or 1, message)

    def _tail(self, job: str, skip: int, write: Callable[[str], object]) -> tuple[int, bool]:
        """Pass on the log after its first `skip` characters, until it ends or the line breaks.

        Return how many characters have been passed on in all, and whether the log ended.
        """
        passed = skip

        async def tail() -> None:
            nonlocal passed
            seen = 0
            async for text in self._client.tail_job_logs(job):
                fresh = text[max(0, passed - seen) :]
                seen += len(text)
                if fresh:
                    write(fresh)
                passed = max(passed, seen)

        try:
            asyncio.run(tail())
        except (OSError, RuntimeError, ClientError):
            return passed, False
        return passed, True
