"""The command that serves models."""

from typing import Annotated

import typer

from pipelines.commands.model_commands import Split
from pipelines.commands.options import LogForm, Root, examples
from wd.config import ChosenQuantization

app = typer.Typer()


@app.command(
    epilog=examples(
        "wd serve models:/quickstart-tiny@champion",
        "wd serve teacher/quickstart-0123456789ab student/quickstart-tiny-wd-0123456789ab",
        'curl localhost:8000/translate -d \'{"text": "Save the file."}\'',
    )
)
def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Model directories, artifacts' names or addresses, or models:/NAME@ALIAS.",
        ),
    ],
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines ask.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    batch: Annotated[
        int, typer.Option(min=1, max=4096, help="Requests translated together at most.")
    ] = 32,
    wait: Annotated[
        float, typer.Option(min=0, max=10_000, help="Milliseconds a request waits for others.")
    ] = 5.0,
    queue: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Requests that wait; more are refused (503).")
    ] = 128,
    max_characters: Annotated[
        int, typer.Option(min=1, max=10_000_000, help="In a request; more are refused (413).")
    ] = 10_000,
    split: Split = None,
    beam: Annotated[int | None, typer.Option(min=1, max=64, help="Beam size.")] = None,
    quantization: Annotated[
        ChosenQuantization | None, typer.Option(help="How weights are held.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads of each model; 0: as many as fit.")
    ] = 0,
    log: LogForm = None,
    root: Root = "artifacts",
) -> None:
    """Translate in a web page and by HTTP, models side by side, until Ctrl-C."""
    from pipelines.tools import serve as service
    from wd.serving.messages import Limits

    settings = {"beam_size": beam, "quantization": quantization}
    service.serve(
        models,
        limits=Limits(batch=batch, wait_milliseconds=wait, queue=queue, characters=max_characters),
        host=host,
        port=port,
        asked={key: value for key, value in settings.items() if value is not None},
        split=split,
        device=device,
        threads=threads,
        root=root,
    )
