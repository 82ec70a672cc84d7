"""Work for one CPU beside work for a GPU: what comes before and after it, in a thread."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Done = TypeVar("Done")
Result = TypeVar("Result")


def overlapped(
    items: Sequence[Item],
    before: Callable[[Item], Ready],
    middle: Callable[[Ready], Done],
    after: Callable[[Ready, Done], Result],
) -> list[Result]:
    """Return `after(x, middle(x))` with x = `before(item)`, for every item in order.

    `middle` runs here, one item at a time; beside it, in one thread, `before` of the next item and
    `after` of those that are done. So at most two items are ready and not done. A single item has
    nothing to overlap with, and needs no thread.
    """
    if len(items) == 1:
        only = before(items[0])
        return [after(only, middle(only))]
    results: list[Future[Result]] = []
    with ThreadPoolExecutor(1, "pieces") as beside:
        ahead = [beside.submit(before, item) for item in items[:1]]
        for number in range(1, len(items) + 1):
            ready = ahead.pop().result()
            ahead += [beside.submit(before, item) for item in items[number : number + 1]]
            results.append(beside.submit(after, ready, middle(ready)))
    return [result.result() for result in results]
