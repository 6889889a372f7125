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
import json, sys, time
from drkit.errors import DrkitError
from drkit.repository.copies.reading import ask_each
from drkit.stores.memory import MemoryStore

PATIENCE_S = 2.0
stores = [MemoryStore("quick"), MemoryStore("slow")]

def question(store):
    if store.name == "slow":
        print("asked", flush=True)
        for _ in range(10):  # a second of work, as long as it is let
            time.sleep(0.1)
    return store.name

answers = ask_each(stores, question, patience_s=PATIENCE_S)
print(json.dumps([isinstance(each, DrkitError) for each in answers.values()]))
"""


def test_S10_a_store_is_not_silent_while_the_process_that_asks_stands_still() -> None:
    asking = subprocess.Popen(
        [sys.executable, "-c", ASK], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert asking.stdout is not None
    assert asking.stdout.readline() == "asked\n"
    asking.send_signal(signal.SIGSTOP)
    time.sleep(2.5)  # longer than the store is waited for
    asking.send_signal(signal.SIGCONT)
    said, _ = asking.communicate(timeout=60)
    assert json.loads(said) == [False, False]
