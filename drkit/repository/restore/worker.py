"""One worker of a restore, as a process: `python -m drkit.repository.restore.worker HANDLE`.

It reads requests from its standard input until that ends, which it does when whoever asks has
ended, however that came; and answers on its standard output. `crew.py` starts it, and says why.
"""

from __future__ import annotations

import marshal
import mmap
import os
import struct
import sys
from typing import IO, Any

from drkit.repository.format.sealing import MasterKey
from drkit.repository.restore.writing import write_range

_LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], value: Any) -> None:
    """One value of plain types, its length before it."""
    content = marshal.dumps(value)
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """What the other side sent. EOFError when it has ended."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    # marshal makes plain values and runs nothing; the other side is this same program
    return marshal.loads(stream.read(_LENGTH.unpack(head)[0]))  # noqa: S302


def serve(asked: IO[bytes], answers: IO[bytes], memory: memoryview) -> None:
    """Answers until nobody asks any more."""
    send(answers, None)  # it has come up
    try:
        parts, sparse = receive(asked)
        key = MasterKey(*parts)
        while True:
            start, length, pieces = receive(asked)
            data = memory[start : start + length]
            send(answers, tuple(write_range(key, data, pieces, sparse=sparse)))
    except (EOFError, BrokenPipeError):
        return


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what some library prints must not come between the answers
    memory = mmap.mmap(int(sys.argv[1]), 0, prot=mmap.PROT_READ)
    serve(sys.stdin.buffer, answers, memoryview(memory))
    os._exit(0)  # there is nothing to tidy


if __name__ == "__main__":
    main()
