"""Names as people type them: an id by its beginning, a name in small or capital letters."""

from collections.abc import Iterable
from difflib import get_close_matches

from descry.errors import InputError

_SHOWN = 5  # candidates that an error lists


def by_prefix(typed: str, ids: Iterable[str], what: str) -> str:
    """The one id that begins with the characters typed, or the id that was typed whole.

    Args:
        what: has the id, such as "sentence of results/corpus.parquet".

    Raises:
        InputError: no id, or several, begin so.
    """
    found = [name for name in ids if name.startswith(typed)] if typed else []
    if typed in found:
        return typed
    if len(found) > 1:
        some = _listed(sorted(found))
        raise InputError(f"{typed}: {len(found)} ids begin so: type more of one: {some}")
    if not found:
        raise InputError(f"{typed or 'an empty id'}: no {what} has an id that begins so")
    return found[0]


def by_name(typed: str, names: Iterable[str], what: str) -> str:
    """The one name that was typed, in whatever case.

    Args:
        what: has the name, such as "descriptor of results/descriptors.json".

    Raises:
        InputError: there is none; the names nearest to it are named.
    """
    every = list(names)
    if typed in every:
        return typed
    cases = {name.casefold(): name for name in every}
    same = [name for name in every if name.casefold() == typed.casefold()]
    if len(same) > 1:
        raise InputError(f"{typed}: {what}: several in this case or that: {_listed(same)}")
    if same:
        return same[0]
    close = get_close_matches(typed.casefold(), cases, n=_SHOWN, cutoff=0.6)
    inside = [one for one in cases if typed.casefold() in one] if typed else []
    near = [cases[one] for one in dict.fromkeys([*close, *inside])]
    hint = f"did you mean {_listed(near)}?" if near else f"there are {_listed(every)}"
    raise InputError(f"{typed}: no {what}: {hint}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN]) or 'none'}{more}"
