"""Mutation testing: how many small bugs in the source would the cases and the tests notice?

Planted defects show that a case catches the bugs that its author thought of. Here the source of every room is changed
in one place at a time. On the changed package run the tests that run the changed line, and the cases of all components
that the file can influence, by their formula verdict; where a dtype is changed, by both verdicts. A mutant that fails a
test or a case, or cannot run, is caught; one that never ends is reported apart; one that survives needs a new case or
test, or an explanation why it changes nothing.
"""
