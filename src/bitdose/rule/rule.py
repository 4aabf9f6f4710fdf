"""The rule of a decision: margins, error rate, order and splits, fixed before the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from bitdose.errors import UsageError, argument, command
from bitdose.hashing import digest
from bitdose.rule.margins import GivenMargins, Margin, read_margins

OBJECTIVES = ("ratio", "bytes", "seconds")
_KEYS = ("margins", "alpha", "order", "select", "confirm", "objective", "link")


@dataclass(frozen=True, init=False)
class Rule:
    """What is asked of a point, and the order in which points are tested.

    Parameters
    ----------
    margins : mapping or iterable
        All must hold. ``{"accuracy": 0.02}``, texts such as ``"sensitivity[covid-19]=0.03"``, or margins;
        kept as a tuple of :class:`~bitdose.rule.margins.Margin` in alphabetical order.
    alpha : float
        Largest chance of certifying a point that loses more than a margin, over all chains; one-sided,
        in (0, 0.5).
    order : tuple of str
        Points and chains in the one order in which they are tested at the full ``alpha``. Empty: every
        chain is tested by itself, and the chains share ``alpha`` evenly.
    select, confirm : str
        Splits: candidates from the first, proof on the second. Both empty: one set does both.
    objective : {"ratio", "bytes", "seconds"}
        What the certified point is chosen by: the largest file ratio, the fewest bytes per exam, or
        the fewest seconds per exam on ``link``.
    link : str
        A link in its text form; needed for ``seconds``.

    Examples
    --------
    >>> rule = Rule({"accuracy": 0.02})
    >>> Rule.from_dict(rule.to_dict()) == rule == Rule(["accuracy=0.02"])
    True
    """

    margins: tuple[Margin, ...]
    alpha: float
    order: tuple[str, ...]
    select: str
    confirm: str
    objective: str
    link: str

    def __init__(
        self,
        margins: GivenMargins,
        alpha: float = 0.05,
        order: Sequence[str] = (),
        *,
        select: str = "",
        confirm: str = "",
        objective: str = "ratio",
        link: str = "",
    ) -> None:
        """Read the margins in any of their forms; raises ``UsageError`` if they contradict."""
        given = (read_margins(margins), alpha, tuple(order), select, confirm, objective, link)
        for field, value in zip(fields(self), given, strict=True):
            object.__setattr__(self, field.name, value)
        self._check()

    def _check(self) -> None:
        if not 0 < self.alpha < 0.5:  # noqa: PLR2004
            raise UsageError(
                f"{argument('alpha')}: expected a fraction above 0 and below 0.5, got {self.alpha:g}"
            )
        if bool(self.select) != bool(self.confirm):
            raise UsageError(f"{argument('select')} and {argument('confirm')}: expected both or neither")
        if self.select and self.select == self.confirm:
            raise UsageError(
                f"{argument('select')} and {argument('confirm')}: expected two splits, got "
                f"{self.select!r} twice"
            )
        if self.select and self.order:
            raise UsageError(
                f"{argument('order')}: not together with {argument('select')}: the first split "
                "gives the order"
            )
        if self.objective not in OBJECTIVES:
            raise UsageError(
                f"{argument('objective')}: expected {', '.join(OBJECTIVES)}, got {self.objective!r}"
            )
        if self.objective == "seconds" and not self.link:
            raise UsageError(
                f"{argument('objective', 'seconds')}: expected {argument('link')} too; "
                f"{command('links', python='bitdose.links.LINKS')} lists them"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as JSON values, as a study file's ``[decision]`` holds them."""
        found: dict[str, Any] = {
            "margins": {m.name: m.limit for m in self.margins},
            "alpha": self.alpha,
            "order": list(self.order),
            "select": self.select,
            "confirm": self.confirm,
            "objective": self.objective,
            "link": self.link,
        }
        return {key: value for key, value in found.items() if value not in ([], "")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Rule:
        """Read what :meth:`to_dict` gives; raises ``UsageError`` for an unknown key or a wrong type."""
        for key in values:
            if key not in _KEYS:
                raise UsageError(f"[decision]: unknown key {key!r}; known: {', '.join(_KEYS)}")
        margins = values.get("margins")
        if not isinstance(margins, Mapping) or not all(_is_number(v) for v in margins.values()):
            raise UsageError("[decision]: margins: expected a table such as {accuracy = 0.02}")
        if not _is_number(values.get("alpha", 0.05)):
            raise UsageError(f"[decision]: alpha: expected a number, got {values['alpha']!r}")
        order = values.get("order", [])
        if not isinstance(order, list | tuple) or not all(isinstance(item, str) for item in order):
            raise UsageError(f"[decision]: order: expected a list of points and chains, got {order!r}")
        texts = {key: values[key] for key in ("select", "confirm", "objective", "link") if key in values}
        for key, text in texts.items():
            if not isinstance(text, str):
                raise UsageError(f"[decision]: {key}: expected text, got {text!r}")
        return cls(margins, float(values.get("alpha", 0.05)), order, **texts)

    def updated(self, **changes: Any) -> Rule:
        """Return the rule with every change that is not None."""
        return replace(self, **{key: value for key, value in changes.items() if value is not None})

    def digest(self) -> str:
        """SHA-256 of the rule: the same for the same rule, wherever it is written."""
        return digest(self.to_dict())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def combined_rule(
    registered: Rule | None, *, margins: GivenMargins | None = None, **options: Any
) -> Rule | None:
    """Put a rule together: the registered one, and over it what is given; None where there is neither.

    Parameters
    ----------
    registered : Rule or None
        What was fixed before the run.
    margins : mapping or sequence, optional
        They replace the registered ones altogether.
    options
        Fields of :class:`Rule`; None keeps what is registered.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if "order" in given:
        given["order"] = tuple(given["order"])
    if margins is None and registered is None:
        if given:
            raise UsageError(
                f"{argument('margins')}: expected at least one, such as accuracy=0.02; none was registered"
            )
        return None
    if margins is not None:
        given["margins"] = read_margins(margins)
    return registered.updated(**given) if registered else Rule(**given)
