"""One bucket of S3 or its kin: requests with retries under one deadline, and provider's traits."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

from drkit.aws import AwsClient, AwsRefused
from drkit.clock import Clock
from drkit.http_client import NoAnswer
from drkit.io_policy import Deadline, Retry, retrying
from drkit.pace import Allowance
from drkit.stores.names import LOCKED_BELOW, check_name
from drkit.stores.s3.errors import TryAgain, explained, unanswered

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lock:
    mode: Literal["GOVERNANCE", "COMPLIANCE"]
    days: int


@dataclass(frozen=True, slots=True)
class Traits:
    """What sets one provider, or one bucket, apart from the others."""

    checksum: Literal["sha256", "md5"] = "sha256"
    etag_is_md5: bool = True
    """An ETag is compared with the MD5 that was sent."""
    delete_versions: bool = False
    """A plain delete only hides: each version has to be deleted by its id."""
    again_501: bool = False
    """501 is also the answer to requests that it takes a moment later."""
    put_fields: Mapping[str, str] = field(default_factory=dict)
    """Storage class and encryption of each new object."""
    lock: Lock | None = None


class S3Bucket:
    """Requests on the objects below `prefix` of one bucket; names are the store's."""

    def __init__(
        self,
        store: str,
        client: AwsClient,
        *,
        bucket: str,
        prefix: str,
        traits: Traits,
        clock: Clock,
        deadline: Deadline,
        retry: Retry,
    ) -> None:
        self.store = store
        self.client = client
        self.bucket = bucket
        self.root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.traits = traits
        self.clock = clock
        self._deadline = deadline
        self._retry = retry
        self._rng = random.Random()

    def place(self, name: str) -> dict[str, Any]:
        """Bucket and key of an object. Raises `StoreRefused` for a name that no store takes."""
        check_name(self.store, name)
        return {"Bucket": self.bucket, "Key": self.root + name}

    def ask(
        self, verb: str, name: str, operation: str, *, silent_s: float = 0.0, **arguments: object
    ) -> dict[str, Any]:
        """The answer to one request, asked again where that may help. It has no long body; the
        server may work on it for `silent_s` without a word.
        """
        return self.asking(
            verb,
            name,
            lambda allowance: self.client.call(operation, allowance, **arguments),
            silent_s=silent_s,
        )

    def asking(
        self,
        verb: str,
        name: str,
        work: Callable[[Allowance], T],
        *,
        size_bytes: int = 0,
        most_bytes: int = 0,
        silent_s: float = 0.0,
    ) -> T:
        """What `work` returns; all its tries share one deadline (S10). Errors are a store's.

        Where it is known only once the answer begins how much comes, `most_bytes` bounds it.
        """
        self.client.open()
        began_s = self.clock.elapsed_s()
        deadline = replace(self._deadline, total_s=self._deadline.total_s + 2 * silent_s)
        again_until_s = began_s + deadline.for_bytes(size_bytes)
        ends_s = began_s + deadline.for_bytes(max(size_bytes, most_bytes))
        arrived = False

        def attempt() -> T:
            nonlocal arrived
            try:
                return work(Allowance(deadline, self.clock, ends_s=ends_s))
            except NoAnswer as error:
                failure = unanswered(self.store, verb, name, error)
                arrived = failure.may_have_arrived = failure.may_have_arrived or arrived
                raise failure from error
            except AwsRefused as error:
                again_501 = self.traits.again_501
                told = explained(self.store, verb, name, error, again_501=again_501)
                if isinstance(told, TryAgain):
                    arrived = told.may_have_arrived = told.may_have_arrived or arrived
                raise told from error

        return retrying(
            attempt,
            policy=self._retry,
            on=(TryAgain,),
            clock=self.clock,
            rng=self._rng,
            ends_s=again_until_s,
        )

    def put_fields(self, name: str) -> dict[str, Any]:
        """Class, encryption and retention of a new object."""
        fields: dict[str, Any] = dict(self.traits.put_fields)
        lock = self.traits.lock
        if lock is not None and name.startswith(LOCKED_BELOW):
            fields["ObjectLockMode"] = lock.mode
            until = self.clock.now() + timedelta(days=lock.days)
            fields["ObjectLockRetainUntilDate"] = until.replace(microsecond=0)
        return fields
