"""A draw of mutants that is even over rooms, files and kinds."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

from parity.mutants.changes import KINDS
from parity.mutants.mutants import Mutant

Item = TypeVar("Item")


def sample(mutants: Iterable[Mutant], number: int, seed: int) -> list[Mutant]:
    """`number` of each room, drawn by chance: from its modules in turn, and in each module from the kinds in turn.

    The next module begins with the next kind, so that no kind is left out where there is one mutant a module only. The
    rooms take turns as well: a run that ends early has as many of each.
    """
    rooms: dict[str, dict[str, list[Mutant]]] = {}
    for mutant in mutants:
        rooms.setdefault(mutant.room, {}).setdefault(mutant.module, []).append(mutant)
    drawn = []
    for room, modules in rooms.items():
        random = Random(f"{room} {seed}")  # So that a room's draw is the same whichever others are drawn from.
        shuffled = [random.sample(members, len(members)) for members in modules.values()]
        random.shuffle(shuffled)
        begin = random.randrange(len(KINDS))  # Otherwise a small draw never reaches the last kinds.
        queues = [_kinds_in_turn(members, begin + number) for number, members in enumerate(shuffled)]
        drawn.append(in_turn(queues)[:number])
    return in_turn(drawn)


def _kinds_in_turn(mutants: list[Mutant], first: int) -> list[Mutant]:
    kinds = [KINDS[(first + position) % len(KINDS)] for position in range(len(KINDS))]
    return in_turn([[mutant for mutant in mutants if mutant.kind == kind] for kind in kinds])


def in_turn(queues: Sequence[Sequence[Item]]) -> list[Item]:
    """The first of each queue, then the second of each, and so on."""
    rounds = range(max(map(len, queues), default=0))
    return [queue[position] for position in rounds for queue in queues if position < len(queue)]
