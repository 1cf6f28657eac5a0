"""Mutation testing: how many small bugs in the source would the cases catch?

Planted defects show that a case catches the bugs that its author thought of. Here the source of `jaxtrain/losses`,
`optim` and `schedules` is changed in one place at a time, and the cases of all components that the changed file can
influence run on the changed package, by their formula verdict. A mutant that fails a case, cannot run or never ends is
caught; one that survives needs a new case, or an explanation why it changes nothing.
"""
