"""What mattered: how much of an objective's variation each searched parameter explains."""

import json
import warnings
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

_LEAST = 4
"""Trials from which anything can be told."""
_BINS = 3
"""Groups that numbers are sorted into, where no forest can be grown."""


def importances(choices: Sequence[Mapping[str, Any]], targets: Sequence[float]) -> dict[str, float]:
    """Return parameter -> share, from 0 to 1; they sum to 1 unless nothing varies.

    `choices` hold every trial's values of the searched parameters, `targets` its figure. By fANOVA
    (a forest of regression trees; Optuna); where that fails, each parameter's correlation ratio:
    the variation between the groups of trials with one value, over all there is.
    """
    varied = {
        name: [choice[name] for choice in choices]
        for name in (choices[0] if choices else {})
        if len({json.dumps(choice[name]) for choice in choices}) > 1
    }
    if len(targets) < _LEAST or not varied or max(targets) == min(targets):
        return {}
    try:
        found = _by_forest(varied, targets)
    except (ImportError, ValueError, RuntimeError):
        found = {}
    if not sum(found.values()):
        found = {name: _correlation_ratio(values, targets) for name, values in varied.items()}
    total = sum(found.values())
    if not total:
        return {}
    shares = {name: value / total for name, value in found.items()}
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _by_forest(varied: Mapping[str, Sequence[Any]], targets: Sequence[float]) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(values) for name, values in varied.items()}
    study = optuna.create_study()
    for number, target in enumerate(targets):
        params = {name: _plain(values[number]) for name, values in varied.items()}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=target)
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {str(name): float(value) for name, value in found.items()}


def _distribution(values: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if _are_numbers(values):
        return FloatDistribution(min(values), max(values))
    return CategoricalDistribution(list(dict.fromkeys(map(_plain, values))))


def _plain(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number else json.dumps(value)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


def _correlation_ratio(values: Sequence[Any], targets: Sequence[float]) -> float:
    ordered = sorted(set(values)) if _are_numbers(values) else []
    groups: dict[Any, list[float]] = {}
    for value, target in zip(values, targets, strict=True):
        group = json.dumps(value)
        if len(ordered) > _BINS:
            group = str(ordered.index(value) * _BINS // len(ordered))
        groups.setdefault(group, []).append(target)
    mean = fmean(targets)
    whole = sum((target - mean) ** 2 for target in targets)
    between = sum(len(group) * (fmean(group) - mean) ** 2 for group in groups.values())
    return between / whole
