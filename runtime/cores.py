"""Processes that keep to one core of the machine."""

import os


def stay_on_core(number: int) -> None:
    """Keep this process, and all threads that it starts from now on, on one core.

    Parameters
    ----------
    number
        Which of the cores that the process may use; counted anew after the last one.

    Notes
    -----
    A process of the API hands each transfer to and fro between Python and the threads of Temporal's
    core some thirty times. On one core that takes a fifth less of its time than across cores. Where
    the system knows no such thing, nothing happens.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})
