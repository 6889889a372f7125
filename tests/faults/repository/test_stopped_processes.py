"""A process that got no time for a while (a suspended machine, or far too much to do) blames no
store for it: what counts is how long was waited, not what the clock says.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

ASK = """
import json, sys
from drkit.errors import DrkitError
from drkit.repository.copies.reading import ask_each
from drkit.stores.memory import MemoryStore

PATIENCE_S = 2.0
stores = [MemoryStore("quick"), MemoryStore("slow")]

def question(store):
    if store.name == "slow":
        print("asked", flush=True)
        sys.stdin.readline()
    return store.name

answers = ask_each(stores, question, patience_s=PATIENCE_S)
print(json.dumps([isinstance(each, DrkitError) for each in answers.values()]))
"""


def test_S10_a_store_is_not_silent_while_the_process_that_asks_stands_still() -> None:
    asking = subprocess.Popen(
        [sys.executable, "-c", ASK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert asking.stdout is not None
    assert asking.stdout.readline() == "asked\n"
    asking.send_signal(signal.SIGSTOP)
    time.sleep(2.5)  # longer than the store is waited for
    asking.send_signal(signal.SIGCONT)
    time.sleep(0.3)  # so that it could give the store up before that one answers
    said, _ = asking.communicate("\n", timeout=60)
    assert json.loads(said) == [False, False]
