"""The results as a page for people: what `docs/performance.md` takes over."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PEAKS = {
    "H100 PCIe": 756.0,
    "H100": 989.4,
    "H200": 989.4,
    "GH200": 989.4,
    "B200": 2250.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.2,
}
"""Part of a card's name -> TFLOP per second of dense bfloat16 products, as its maker says."""
Row = Mapping[str, Any]


def table(rows: Sequence[Row]) -> str:
    """Return Markdown: a table for each part that left figures, then what is missing and why."""
    of = {row["what"]: row for row in rows if row["part"] == "ceilings"}
    lines = [*_about(of), *_training(rows, of), *_phases(rows), *_profiles(rows)]
    lines += [*_checks(rows), *_ladder(rows), *_missing(rows)]
    return "\n".join(lines) + "\n"


def peak(card: str) -> float | None:
    """Return the TFLOP per second that a card's maker tells, None for an unknown card."""
    found = [name for name in PEAKS if all(word in card for word in name.split())]
    return PEAKS[max(found, key=len)] if found else None


def _about(of: Mapping[str, Row]) -> Iterable[str]:
    here = of.get("versions", {})
    left_out = ("part", "what", "took")
    yield ", ".join(f"{key} {value}" for key, value in here.items() if key not in left_out)
    if "teraflops" in of.get("product", {}):
        product = of["product"]
        yield f"a product of {product['size']}^3: {product['teraflops']:,.1f} TFLOP/s"
    if "gigabytes_per_second" in of.get("copy", {}):
        yield f"a copy: {of['copy']['gigabytes_per_second']:,.0f} GB/s"


def _training(rows: Sequence[Row], of: Mapping[str, Row]) -> Iterable[str]:
    timed = [row for row in rows if row["part"] == "training" and "pieces_per_second" in row]
    theirs = {
        (row["model"], row["pieces"], row["kind"].endswith("compiled")): row["pieces_per_second"]
        for row in timed
        if row["kind"].startswith("Hugging")
    }
    told = peak(str(of.get("versions", {}).get("card", "")))
    measured = of.get("product", {}).get("teraflops")
    yield from (
        _head(
            "model, kind, pieces x batches",
            *(
                "target pieces/s",
                "over Hugging Face",
                "MFU",
                "of the product",
                "ms",
                "GB",
                "first, s",
            ),
        )
        if timed
        else ()
    )
    for row in timed:
        key = (row["model"], row["pieces"], row["kind"].endswith("compiled"))
        ratio = row["pieces_per_second"] / theirs[key] if key in theirs else None
        yield _line(
            row["what"],
            f"{row['pieces_per_second']:,}",
            _figure(ratio, ".2f"),
            _figure(told and row["teraflops"] / told, ".3f"),
            _figure(measured and row["teraflops"] / measured, ".3f"),
            f"{row['seconds'] * 1e3:,.1f}",
            _figure(row.get("peak_gigabytes"), ".1f"),
            f"{row['first_update']:.1f}",
        )


def _phases(rows: Sequence[Row]) -> Iterable[str]:
    found = [row for row in rows if row["part"] == "phase_one" and "seconds" in row]
    if found:
        yield from _head("phase 1 over fine-tuning", "ms an update", "GB")
    for row in found:
        memory = _figure(row.get("peak_gigabytes"), ".1f")
        yield _line(row["what"], f"{row['seconds'] * 1e3:,.1f}", memory)
    for row in rows:
        if row["part"] == "phase_one" and "ratio" in row:
            size = f"{row['pieces']:,} pieces x {row['batches']}"
            yield _line(f"**{row['what']}, ratio**", f"**{row['ratio']:.2f}**", size)


def _profiles(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        if row["part"] == "profiles" and "shares" in row:
            yield from _head(f"{row['what']}: a step", f"{row['milliseconds']} ms")
            yield from (_line(kind, f"{share:.1%}") for kind, share in row["shares"].items())
            yield _line("kernels or operations", f"{row['launches']:,}")


def _checks(rows: Sequence[Row]) -> Iterable[str]:
    found = [row for row in rows if row["part"] == "checks" and "passed" in row]
    if found:
        yield from _head("tests on the device", "passed", "not passed", "skipped")
    for row in found:
        yield _line(row["what"], row["passed"], row["not_passed"], row["left_out"])
        yield from (_line(f"not passed: {name}", "", "", "") for name in row["names"])


def _ladder(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        if row["part"] == "ladder" and "students" in row:
            yield from _head("ladder", "student", "BLEU", "over kd", "p", "updates", "seconds")
            yield _line("teacher", "", f"{row['teacher']['bleu']:.2f}", *4 * ["-"])
            for student, rungs in row["students"].items():
                for rung, one in rungs.items():
                    yield _line(
                        rung,
                        student,
                        f"{one['bleu']['mean']:.2f}",
                        _figure(one.get("to_baseline"), "+.2f"),
                        _figure(one.get("p_value"), ".3f"),
                        one["updates"],
                        f"{one['training_seconds']:.0f}",
                    )


def _missing(rows: Sequence[Row]) -> Iterable[str]:
    lost = [row for row in rows if "failed" in row or "skipped" in row]
    if lost:
        yield from _head("not measured", "why")
    for row in lost:
        yield _line(f"{row['part']}: {row['what']}", row.get("failed") or row["skipped"])


def _head(*names: str) -> Iterable[str]:
    yield ""
    yield _line(*names)
    yield "|---" * len(names) + "|"


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
