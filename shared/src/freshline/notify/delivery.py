"""Sends messages through apprise, which knows the services."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from apprise import Apprise, AppriseAsset, NotifyBase, NotifyFormat

from freshline.errors import SettingsError
from freshline.notify.messages import Message
from freshline.notify.settings import Address

__all__ = ["Delivery", "Sent"]

# What it says is in our own lines. Without a handler, Python prints it once more.
logging.getLogger("apprise").addHandler(logging.NullHandler())


class Sent(NamedTuple):
    """What became of a message."""

    address: Address
    problem: str | None
    """Why it could not be sent, in apprise's words; None: it was."""


class Delivery:
    """Sends messages to `addresses`. Raises `SettingsError` for one that apprise does not know."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        # No picture from another server in the messages.
        self._asset = AppriseAsset(
            app_id="freshline", app_desc="freshline", image_url_mask="", image_url_logo=""
        )
        self._services = {it.id: self._service(it) for it in addresses}
        self._addresses = {it.id: it for it in addresses}

    def send(self, messages: Mapping[str, Message]) -> list[Sent]:
        """Send each message to the address with that id, all at the same time.

        Return what became of each, in order.
        """
        with ThreadPoolExecutor(max(1, len(messages))) as pool:
            return list(pool.map(self._send, messages.keys(), messages.values()))

    def _service(self, address: Address) -> NotifyBase:
        service = Apprise.instantiate(address.url, asset=self._asset)
        if isinstance(service, NotifyBase):
            return service
        # What apprise says about it may hold its secrets.
        kind = address.url.partition("://")[0] if "://" in address.url else "..."
        raise SettingsError(
            f"{address.where}: apprise cannot use this {kind}:// address; its page on the service "
            "says how the address is written."
        )

    def _send(self, id_: str, message: Message) -> Sent:
        sender = Apprise(asset=self._asset)
        sender.add(self._services[id_])
        result = sender.notify(
            title=message.title,
            body=message.body,
            notify_type=message.tone.value,
            body_format=NotifyFormat.TEXT,
        )
        if result:
            return Sent(self._addresses[id_], None)
        said = [entry.message.strip() for entry in result.logs()]
        return Sent(self._addresses[id_], said[-1] if said else "the service did not take it")
