"""`python -m parity diff --bench`: every planted mistake, and the right ports."""

import json
from argparse import Namespace
from collections.abc import Iterator

import torch
from rich.console import Console
from rich.table import Table

from parity.diff.bench import accumulated, bert, digits, gpt, lstm, resnet
from parity.diff.bench.planted import Outcome, Subject, judged
from parity.options import named

SUBJECTS: tuple[Subject, ...] = tuple(module.SUBJECT for module in (gpt, bert, resnet, lstm, digits, accumulated))


def main(options: Namespace) -> int:
    """Print the table of mistakes; 1 if a layer is not named, or a right port raises an alarm."""
    planted = [f"{subject.name} {each.name}" for subject in SUBJECTS for each in subject.mistakes]
    named(planted, options.function, "a planted mistake or its model, such as GPT-2", str)
    # Many threads make small products slow.
    torch.set_num_threads(1)
    console = Console(width=160)
    table = Table("model", "planted", "layer", "cause", "said", title="Planted mistakes")
    outcomes: list[Outcome] = []
    for outcome in outcomes_of(options.function):
        outcomes.append(outcome)
        marks = ("yes" if outcome.layer else "NO"), ("yes" if outcome.cause else "no")
        table.add_row(outcome.subject, outcome.planted.name, *marks, outcome.said)
        console.print(f"{outcome.subject}: {outcome.planted.name}: {outcome.said}", markup=False)
    console.print(table)
    alarms = []
    for subject in SUBJECTS:
        if not options.function or any(part in subject.name for part in options.function):
            alarms += [
                f"{subject.name} in {precision}"
                for precision in ("float64", "float32")
                if not subject.run(None, precision).same
            ]
    layers, causes = sum(each.layer for each in outcomes), sum(each.cause for each in outcomes)
    console.print(
        f"{layers} layers and {causes} causes named of {len(outcomes)} planted mistakes; false alarms: "
        f"{', '.join(alarms) or 'none'} (PyTorch {torch.__version__})."
    )
    if options.json:
        content = [
            {"model": o.subject, "planted": o.planted.name, "layer": o.layer, "cause": o.cause, "said": o.said}
            for o in outcomes
        ]
        options.json.write_text(json.dumps({"mistakes": content, "alarms": alarms}, indent=1))
    return 0 if layers == len(outcomes) and not alarms else 1


def outcomes_of(names: list[str]) -> Iterator[Outcome]:
    """What the diff says about each planted mistake whose model or name contains one of `names`; without any, all."""
    for subject in SUBJECTS:
        for planted in subject.mistakes:
            if not names or any(part in f"{subject.name} {planted.name}" for part in names):
                yield judged(subject, planted)
