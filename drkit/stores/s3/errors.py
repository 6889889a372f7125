"""What the answers of S3 and its kin mean for a store, and what to do about each. Pure."""

from __future__ import annotations

from drkit.aws import AwsRefused
from drkit.errors import DrkitError
from drkit.http_client import NoAnswer
from drkit.stores.interface import ObjectMissing, StoreRefused, StoreUnreachable, VersionChanged


class TryAgain(StoreUnreachable):
    """Trouble that passes; `after_s`: the store wants to be left alone for that long.

    `may_have_arrived`: what was asked may have happened all the same.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        after_s: float | None = None,
        may_have_arrived: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.after_s = after_s
        self.may_have_arrived = may_have_arrived


class PastTheEnd(StoreUnreachable):
    """The range that was asked for begins past the object's end."""


_PASSING_STATUS = (408, 429, 500, 502, 503, 504)
_PASSING_CODE = {
    "BadDigest": "bytes are changed on the way there; what is between?",
    "ConditionalRequestConflict": "another writer was faster",
    "IncompleteBody": "the connection breaks; try a wired one",
    "InternalError": "the provider has trouble; see its status page",
    "OperationAborted": "another change of the same object goes on",
    "RequestTimeout": "the connection is too slow, or breaks",
    "ServiceUnavailable": "the provider has trouble; see its status page",
    "SlowDown": "the provider limits requests; run fewer jobs at once",
    "ThrottlingException": "the provider limits requests; run fewer jobs at once",
    "TooManyRequests": "the provider limits requests; run fewer jobs at once",
    "XAmzContentChecksumMismatch": "bytes are changed on the way there; what is between?",
}
_HINTS = {
    "403": "the key may not do this; docs/how-to/s3-and-b2.md has the policy it needs",
    "AccessDenied": "the key may not do this; docs/how-to/s3-and-b2.md has the policy it needs",
    "AuthorizationHeaderMalformed": "is `region` that of the bucket?",
    "EntityTooLarge": "the provider takes no object of this size",
    "ExpiredToken": "the session token has expired; get a new one",
    "InvalidAccessKeyId": "the key id is not known there; was the key deleted?",
    "InvalidObjectState": "the object lies in a class that must be thawed first",
    "InvalidStorageClass": "the store's `storage_class` is not one of this provider",
    "InvalidToken": "the session token does not fit the key",
    "NoSuchBucket": "make the bucket, or correct its name",
    "NotImplemented": "the provider does not know this request",
    "PermanentRedirect": "is `region` that of the bucket?",
    "QuotaExceeded": "raise the quota, or make room",
    "RequestTimeTooSkewed": "set this machine's clock; it differs from the store's",
    "SignatureDoesNotMatch": "the secret does not fit the key id",
    "StorageCapExceeded": "raise the account's cap, or make room",
}
_DEFAULT_HINT = "see the provider's documentation of that code"
_MISSING_CODES = ("NoSuchKey", "NoSuchVersion", "NotFound", "404", "NoSuchUpload")


def explained(
    store: str, verb: str, name: str, error: AwsRefused, *, again_501: bool
) -> DrkitError:
    """The error of the store for one answer to `verb` ("read", "write") on object `name`."""
    what = f"{store}: cannot {verb} {name or 'it'}: {error.message}"
    if error.status == 412:
        return VersionChanged(f"{store}: {name} was changed by another writer", hint="read it anew")
    if error.code == "NoSuchBucket":
        return StoreRefused(what, hint=_HINTS["NoSuchBucket"])
    if error.code in _MISSING_CODES or error.status == 404:
        return ObjectMissing(f"{store}: there is no {name}", hint="read it from another store")
    if error.status == 416:
        return PastTheEnd(what, hint="the object is truncated here; read it from another store")
    passing = error.status in _PASSING_STATUS or error.code in _PASSING_CODE
    if passing or (again_501 and error.status == 501):
        return TryAgain(
            what,
            hint=_PASSING_CODE.get(error.code, "try again later"),
            after_s=error.after_s,
            may_have_arrived=error.status >= 500,
        )
    return StoreRefused(what, hint=_HINTS.get(error.code, _DEFAULT_HINT))


def unanswered(store: str, verb: str, name: str, error: NoAnswer) -> TryAgain:
    return TryAgain(
        f"{store}: cannot {verb} {name or 'it'}: {error.message}",
        hint=error.hint,
        may_have_arrived=error.sent,
    )
