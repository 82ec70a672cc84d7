from collections import Counter

import pytest

from wd.data.markup import plain_pair


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (("%s of %d", "%d von %s"), ("{0} of {1}", "{1} von {0}")),
        (("%s of %d files", "%s von %d Dateien"), ("{0} of {1} files", "{0} von {1} Dateien")),
        (("%s by %s", "%s von %s"), ("{0} by {1}", "{0} von {1}")),
        (("{a} by {b}", "{b} von {a}"), ("{0} by {1}", "{1} von {0}")),
        (("{a} and {a}", "{a} und {a}"), ("{0} and {0}", "{0} und {0}")),
        (("{a} and {a}", "{a} und {b}"), None),
        (("${n} items, %(m).2f", "%(m).2f: ${n} Dinge"), ("{0} items, {1}", "{1}: {0} Dinge")),
        (("{{ user.name }} left", "{{ user.name }} ging"), ("{0} left", "{0} ging")),
        (("100% sure", "100% sicher"), ("100% sure", "100% sicher")),
        (("100%% of %s", "100%% von %s"), ("100% of {0}", "100% von {0}")),
        (('<a href="x">Go</a><br>on', "<b>Los</b> weiter"), ("Go on", "Los weiter")),
        (("Fish &amp; chips", "Fisch &amp; Co"), ("Fish & chips", "Fisch & Co")),
        (("&Open", "Ö&ffnen"), ("Open", "Öffnen")),
        (("_Open", "打开(_O)"), ("Open", "打开")),
        (("R&D at AT&T", "F&E bei AT&T"), ("R&D at AT&T", "F&E bei AT&T")),
        (("a < b", "a < c"), ("a < b", "a < c")),
        (("%s: 3", "%s: 4"), None),  # no words
        (("Name", "  "), None),
    ],
)
def test_pairs(pair: tuple[str, str], expected: tuple[str, str] | None) -> None:
    removed: Counter[str] = Counter()
    assert plain_pair(*pair, removed) == expected
    assert removed.total() == (expected is None)


RUN = 100_000


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "run",
    ["%" + "0" * RUN, "%(a)" + "0" * RUN, "{%" * RUN, "{{" * RUN, "{{\n" * RUN + "}}"],
    ids=["digits", "named", "tags", "braces", "lines"],
)
def test_time_is_linear_in_the_text(run: str) -> None:
    removed: Counter[str] = Counter()
    assert plain_pair(f"{run} word", f"{run} Wort", removed) is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% if a %}x{% endif %}", "{0}x{1}"),
        ("{% open {{ a }} x", "{% open {0} x"),
        ("{{ a\n{{ b }} x", "{{ a\n{0} x"),
        ("{{ a\n}} {% b\n%} x", "{{ a\n}} {% b\n%} x"),
        ("x {%x}", "x {0}"),
        ("{{{x}}} x", "{0}} x"),
        ("{{{{ x", "{{{{ x"),
        ("&#" + "9" * 5000 + "; x", "&#" + "9" * 5000 + "; x"),
    ],
)
def test_templates(text: str, expected: str) -> None:
    assert plain_pair(text, text, Counter()) == (expected, expected)
