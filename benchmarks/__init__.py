"""`python -m benchmarks`: this stack beside its peers, each figure with the target that it has to reach.

    __main__.py    the command line, the rounds and the table
    rounds.py      samples in turns, their medians and ratios
    report.py      those as text and as JSON
    scenarios.py   every scenario by name: who takes part, what is measured, what must be reached
    measures.py    how one sample of each kind is taken
    h2load.py      nghttp2's load generator as a subprocess
    contenders.py  every server and client by name; those in Go and Rust are built
    frames.py      requests made ahead of time, so that header blocks can be chosen byte by byte
    replay.py      our raw load generator, which sends them
    processes.py   peers as subprocesses pinned to a core, with their CPU time and memory
    paths.py       the hot paths of a server and a client, each driven within its own process
    stack.py       what an operation on them costs, beside the figures kept in instructions.json (`make check-speed`)
    counting.py    how that is counted: processor instructions, bytecodes
    micro.py       the codec alone, beside betterproto2's and Google's, by pyperf
    peers/         the servers and clients of each stack, each a program of its own

A server and its load never share a process, nor (where there are two) a core. Samples of the contenders alternate, so
that a machine that slows down slows them all; a ratio is the median of the rounds' ratios.
"""
