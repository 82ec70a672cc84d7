"""What Ray Train's controller tells while it waits for room, and when it gives up."""

import time

from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller.state import RunningState, TrainControllerState

from wd.distributed.resources import TELL_SECONDS, Want, say_waiting
from wd.errors import UserError
from wd.logs import Voice


class Waiting(ControllerCallback):
    """Runs in the controller. Ray counts every minute without room as a failed start.

    So it is told never to give up, and this counts the starts that failed with room.
    """

    def __init__(self, want: Want, who: str, most_failures: int, voice: Voice) -> None:
        self._want, self._who, self._most = want, who, most_failures
        self._voice = voice
        self._failures = 0
        self._since: float | None = None

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """Let the controller's process speak as the workers do."""
        del train_run_context
        self._voice.adopt()

    def after_controller_state_update(
        self, previous_state: TrainControllerState, current_state: TrainControllerState
    ) -> None:
        """Tell once a minute what is waited for; raises UserError after too many failed starts."""
        del previous_state
        if isinstance(current_state, RunningState):
            self._since, self._failures = None, 0
            return
        error = getattr(current_state, "training_failed_error", None)
        if isinstance(getattr(error, "controller_failure", None), WorkerGroupStartupFailedError):
            self._failures += 1
            if self._failures > self._most:
                raise UserError(
                    f"its workers died {self._failures} times as they started "
                    f"(ray.max_failures {self._most})"
                ) from error
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._since > 0.9 * TELL_SECONDS:
            self._since = now
            say_waiting(self._want, self._who)
