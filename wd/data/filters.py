"""Which sentence pairs are kept. Every filter has a name, so that what it removes is counted."""

from wd.config import FilterConfig
from wd.data.languages import count_characters, count_words

# Of two short texts one is easily many times the other's length: "OK", "Einverstanden".
_RATIO_COUNTS_FROM = 20


def cleaned(text: str) -> str:
    """Return the text on one line: every run of white space becomes one space."""
    return " ".join(text.split())


def why_removed(source: str, target: str, config: FilterConfig) -> str | None:
    """Return the name of the first filter that drops the pair of cleaned texts, or None."""
    if not source or not target:
        return "empty"
    if config.drop_identical and source == target:
        return "identical"
    words = count_words(source), count_words(target)
    if max(words) < config.min_words:  # one side may be one word: "order status", "Bestellstatus"
        return "short"
    if max(words) > config.max_words:
        return "long"
    shorter, longer = sorted((count_characters(source), count_characters(target)))
    if longer > _RATIO_COUNTS_FROM and longer > config.max_ratio * shorter:
        return "ratio"
    return None


def why_removed_alone(source: str, config: FilterConfig) -> str | None:
    """Return the same of a source without a target, by the filters that look at one side."""
    if not source:
        return "empty"
    words = count_words(source)
    if words < config.min_words:
        return "short"
    return "long" if words > config.max_words else None
