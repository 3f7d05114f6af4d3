"""What a user is told before a pipeline starts: which name is wrong, what is missing, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions as google_errors
from google.auth.exceptions import DefaultCredentialsError
from pubsub_server import PubSubServer

from contracts.errors import InputError, OutputError, ServiceError, UsageError
from sources.pubsub import client
from sources.pubsub.emulator import find_server, free_port

SUBSCRIPTION, TOPIC = "projects/acme/subscriptions/events", "projects/acme/topics/events"


@pytest.fixture(name="refusing", scope="module")
def refusing_fixture(pubsub_server: Any) -> Iterator[PubSubServer]:
    """A server that refuses permission for everything."""
    program = find_server()
    assert program is not None
    methods = ("GetSubscription", "GetTopic", "CreateTopic", "Pull")
    server = PubSubServer(program, *(part for name in methods for part in ("-fail", f"{name}=PERMISSION_DENIED")))
    yield server
    server.stop()


def test_a_good_subscription_tells_its_deadline(topic: Any) -> None:
    assert client.check_subscription(topic.subscription, topic.endpoint) == 10.0
    client.check_topic(topic.topic, topic.endpoint)
    client.create(topic.topic, topic.subscription, topic.endpoint)


def test_what_is_not_there_is_named_with_its_server(topic: Any) -> None:
    with pytest.raises(InputError, match=rf"no subscription {SUBSCRIPTION} at localhost:\d+") as error:
        client.check_subscription(SUBSCRIPTION, topic.endpoint)
    assert error.value.hint.startswith("create it: wayline publish --create")
    with pytest.raises(OutputError, match=f"no topic {TOPIC}"):
        client.check_topic(TOPIC, topic.endpoint)


def test_a_topic_that_was_deleted_is_noticed(topic: Any) -> None:
    client.publisher(topic.endpoint).delete_topic(topic=topic.topic)
    with pytest.raises(InputError, match="was deleted"):
        client.check_subscription(topic.subscription, topic.endpoint)


def test_a_subscription_that_delivers_elsewhere_is_refused(topic: Any) -> None:
    name = topic.subscription + "-push"
    client.subscriber(topic.endpoint).create_subscription(
        request={"name": name, "topic": topic.topic, "push_config": {"push_endpoint": "https://x.example"}}
    )
    with pytest.raises(InputError, match="delivers by itself"):
        client.check_subscription(name, topic.endpoint)


def test_a_missing_permission_names_the_role(refusing: PubSubServer) -> None:
    with pytest.raises(InputError, match="no permission") as error:
        client.check_subscription(SUBSCRIPTION, refusing.endpoint)
    assert "roles/pubsub.subscriber" in error.value.hint
    for call in (client.check_topic, lambda topic, endpoint: client.create(topic, None, endpoint)):
        with pytest.raises(OutputError, match="no permission") as refused:
            call(TOPIC, refusing.endpoint)
        assert "roles/pubsub.publisher" in refused.value.hint


def test_a_missing_emulator_is_named_with_the_command_that_starts_it() -> None:
    endpoint = f"localhost:{free_port(0)}"
    with pytest.raises(ServiceError, match=f"no Pub/Sub emulator answers at {endpoint}") as error:
        client.check_subscription(SUBSCRIPTION, endpoint)
    assert "wayline pubsub-emulator" in error.value.hint


def test_missing_credentials_are_named() -> None:
    error = client.explain(DefaultCredentialsError("none"), SUBSCRIPTION, None)
    assert isinstance(error, InputError)
    assert "gcloud auth application-default login" in error.hint
    away = client.explain(google_errors.ServiceUnavailable("x"), SUBSCRIPTION, None)
    assert isinstance(away, ServiceError)


@pytest.mark.parametrize(
    "name", ["events", "projects/a/topics/events", "projects/a/subscriptions/x", "projects//subscriptions/abc"]
)
def test_a_name_that_is_none_is_refused_before_any_call(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of subscriptions") as error:
        client.check_subscription(name, "localhost:1")
    assert "projects/PROJECT/subscriptions/NAME" in error.value.hint


def test_the_environment_names_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "localhost:8085")
    assert client.emulator_endpoint() == "localhost:8085"
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "")
    assert client.emulator_endpoint() is None
