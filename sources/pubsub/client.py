"""Pub/Sub clients, one a process and endpoint, and what their errors mean to a user.

The only module of Wayline that talks to Pub/Sub besides Beam's own source. ``endpoint`` is that of an emulator, as
``host:port``; None is the service, with application default credentials. Errors: ``InputError`` for a subscription,
``OutputError`` for a topic, ``ServiceError`` when nothing answers.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import grpc
from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry, if_transient_error
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from contracts.errors import InputError, OutputError, ServiceError, UsageError, WaylineError

EMULATOR_VARIABLE = "PUBSUB_EMULATOR_HOST"
CONSUME = "pubsub.subscriptions.consume"
_NAME = {
    kind: re.compile(rf"projects/[^/\s]+/{kind}/[A-Za-z][A-Za-z0-9\-_.~+%]{{2,254}}")
    for kind in ("topics", "subscriptions")
}
_IDS_A_CALL = 1_000
"""A request may take 512 KiB, and an ack id of the service a few hundred bytes."""
_PATIENCE = 10.0
PERSISTENCE = 30.0
"""Seconds for which a call that changes something is tried again while the server does not answer."""
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

CLIENT_ERRORS = (google_errors.GoogleAPICallError, google_errors.RetryError, GoogleAuthError)

# polling without waiting is deprecated for those who would wait; a reader that may not block cannot
warnings.filterwarnings("ignore", message="The return_immediately flag is deprecated")


def emulator_endpoint() -> str | None:
    """The emulator that the environment names; None for the service."""
    return os.environ.get(EMULATOR_VARIABLE) or None


def check_name(kind: str, name: str) -> str:
    """``name``, known to be a full name of a topic or subscription. Raises UsageError.

    Args:
        kind: ``topics`` or ``subscriptions``.
        name: such as ``projects/acme/topics/events``.
    """
    if not _NAME[kind].fullmatch(name):
        raise UsageError(f"{name!r} is no name of {kind}", hint=f"write it in full: projects/PROJECT/{kind}/NAME")
    return name


@cache
def subscriber(endpoint: str | None) -> Any:
    """The subscriber client of this process. Raises GoogleAuthError without credentials."""
    if endpoint is None:
        return SubscriberClient()
    return SubscriberClient(transport=SubscriberGrpcTransport(channel=grpc.insecure_channel(endpoint, _UNLIMITED)))


@cache
def publisher(endpoint: str | None) -> Any:
    """The publisher client of this process. Raises GoogleAuthError without credentials."""
    if endpoint is None:
        return PublisherClient()
    return PublisherClient(transport=PublisherGrpcTransport(channel=grpc.insecure_channel(endpoint, _UNLIMITED)))


def _retry() -> Any:
    return Retry(predicate=if_transient_error, initial=0.1, maximum=2.0, timeout=PERSISTENCE)


def send(endpoint: str | None, topic: str, messages: Sequence[dict[str, object]]) -> None:
    """Publish messages in one request. Raises OutputError or ServiceError once retrying has not helped."""
    try:
        publisher(endpoint).publish(topic=topic, messages=messages, retry=_retry(), timeout=PERSISTENCE)
    except CLIENT_ERRORS as error:
        raise explain(error, topic, endpoint) from error


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(ids), _IDS_A_CALL):
        yield ids[at : at + _IDS_A_CALL]


def acknowledge(endpoint: str | None, subscription: str, ids: Sequence[str]) -> None:
    """Acknowledge messages; again is harmless. Raises GoogleAPICallError once retrying has not helped."""
    for chunk in _chunks(ids):
        subscriber(endpoint).acknowledge(subscription=subscription, ack_ids=chunk, retry=_retry(), timeout=PERSISTENCE)


def extend(endpoint: str | None, subscription: str, ids: Sequence[str], seconds: int) -> None:
    """Keep messages for so many seconds from now; 0 gives them back. Raises GoogleAPICallError."""
    for chunk in _chunks(ids):
        subscriber(endpoint).modify_ack_deadline(
            subscription=subscription, ack_ids=chunk, ack_deadline_seconds=seconds, timeout=_PATIENCE
        )


# --- before anything starts ----------------------------------------------------------------------------------------


def explain(error: Exception, name: str, endpoint: str | None) -> WaylineError:
    """What an error of the client means for a topic or subscription."""
    is_topic = "/topics/" in name
    kind: type[WaylineError] = OutputError if is_topic else InputError
    what = "topic" if is_topic else "subscription"
    if isinstance(error, google_errors.NotFound):
        where = f" at {endpoint}" if endpoint else ""
        hint = "create it: wayline publish --create …" if endpoint else f"create it: gcloud pubsub {what}s create …"
        return kind(f"there is no {what} {name}{where}", hint=hint)
    if isinstance(error, google_errors.PermissionDenied | google_errors.Unauthenticated):
        role = "roles/pubsub.publisher" if is_topic else "roles/pubsub.subscriber"
        return kind(f"no permission to use {name}", hint=f"the account that runs this needs {role} on it")
    if isinstance(error, GoogleAuthError):
        return kind(
            f"no credentials for {name}",
            hint="gcloud auth application-default login; or, for trials: wayline pubsub-emulator, and what it says",
        )
    if endpoint is not None:
        return ServiceError(
            f"no Pub/Sub emulator answers at {endpoint}, which {EMULATOR_VARIABLE} names",
            hint=f"start it: wayline pubsub-emulator; or, to use the service: unset {EMULATOR_VARIABLE}",
        )
    return ServiceError(f"Pub/Sub does not answer for {name}: {type(error).__name__}", hint="check the network")


def check_subscription(subscription: str, endpoint: str | None) -> float:
    """Whether a subscription can be read, before a pipeline starts: its ack deadline in seconds.

    Raises:
        UsageError: it is no name.
        InputError: it does not exist, may not be read, or delivers elsewhere.
        ServiceError: nothing answers.
    """
    check_name("subscriptions", subscription)
    try:
        client = subscriber(endpoint)
        found = client.get_subscription(subscription=subscription, retry=None, timeout=_PATIENCE)
        if endpoint is None:  # an emulator knows no permissions
            granted = client.test_iam_permissions(
                request={"resource": subscription, "permissions": [CONSUME]}, retry=None, timeout=_PATIENCE
            )
            if CONSUME not in granted.permissions:
                raise google_errors.PermissionDenied(CONSUME)
    except CLIENT_ERRORS as error:
        raise explain(error, subscription, endpoint) from error
    if found.topic == "_deleted-topic_":
        raise InputError(f"the topic of {subscription} was deleted: nothing will come", hint="create both anew")
    if found.push_config.push_endpoint or found.bigquery_config.table or found.cloud_storage_config.bucket:
        raise InputError(f"{subscription} delivers by itself; it cannot be read", hint="create one without a target")
    return float(found.ack_deadline_seconds or 10)


def check_topic(topic: str, endpoint: str | None) -> None:
    """Whether a topic is there. Raises UsageError, OutputError or ServiceError."""
    check_name("topics", topic)
    try:
        publisher(endpoint).get_topic(topic=topic, retry=None, timeout=_PATIENCE)
    except CLIENT_ERRORS as error:
        raise explain(error, topic, endpoint) from error


def create(topic: str, subscription: str | None, endpoint: str | None) -> None:
    """Make a topic, and a subscription to it, where they are missing. Raises UsageError, OutputError, ServiceError."""
    check_name("topics", topic)
    try:
        _unless_there(lambda: publisher(endpoint).create_topic(name=topic, timeout=_PATIENCE))
    except CLIENT_ERRORS as error:
        raise explain(error, topic, endpoint) from error
    if subscription is None:
        return
    check_name("subscriptions", subscription)
    try:
        _unless_there(
            lambda: subscriber(endpoint).create_subscription(
                name=subscription, topic=topic, ack_deadline_seconds=10, timeout=_PATIENCE
            )
        )
    except CLIENT_ERRORS as error:
        raise explain(error, subscription, endpoint) from error


def _unless_there(make: Any) -> None:
    try:
        make()
    except google_errors.AlreadyExists:
        return
