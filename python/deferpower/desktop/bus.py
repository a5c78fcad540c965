"""A connection to a message bus that never waits for a service. Only this room names jeepney."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from jeepney import (
    DBusAddress,
    HeaderFields,
    MatchRule,
    Message,
    MessageType,
    Parser,
    message_bus,
    new_method_call,
)
from jeepney.auth import BEGIN, Authenticator

from deferpower.desktop.services import PROPERTIES, PropertyService, Reply, Service

_BUS = "org.freedesktop.DBus"
_CHUNK_BYTES = 65536

_Handler = Callable[[Service, Reply, str, float, bool], None]


class Connection:
    """A socket to the bus, and the services that are watched over it."""

    def __init__(self, address: str, timeout_s: float) -> None:
        """Connect, which takes a bus less than a millisecond.

        Args:
            address: path of the bus's socket; an abstract one begins with NUL.
            timeout_s: how long all of it may take; and within which an answer is prompt.

        Raises:
            OSError: nobody listens, or the bus does not answer in time.
            ValueError: the bus does not take this user.
        """
        self._timeout_s = timeout_s
        self._socket = _connected(address, timeout_s)
        # A socket that is merely dropped complains.
        self.close = weakref.finalize(self, self._socket.close)
        self._parser = Parser()
        self._serials = itertools.count(1)
        self._calls: dict[int, tuple[Service, _Handler]] = {}
        self._services: dict[str, Service] = {}
        self._send(message_bus.Hello())

    def watch(self, service: Service) -> None:
        """Hear when something takes the service's name and when it lets go."""
        place = service.place
        self._services[place.name] = service
        rule = MatchRule(type="signal", sender=_BUS, interface=_BUS, member="NameOwnerChanged")
        rule.add_arg_condition(0, place.name)
        self._send(message_bus.AddMatch(rule))
        if isinstance(service, PropertyService):
            rule = MatchRule(
                type="signal",
                sender=place.name,
                path=place.path,
                interface=PROPERTIES,
                member="PropertiesChanged",
            )
            self._send(message_bus.AddMatch(rule))
        self._ask(service, message_bus.GetNameOwner(place.name), _owner_told)

    def ask_if_due(self, service: Service) -> None:
        """Send the service's call, unless it owes an answer."""
        if not service.is_due or service.asked_real_s is not None:
            return
        place, call = service.place, service.call()
        # Not by its name, or the bus would start a service that has just ended.
        address = DBusAddress(place.path, bus_name=service.owner, interface=call.interface)
        message = new_method_call(address, call.member, call.signature, call.body)
        self._ask(service, message, _answered)

    def wait(self, seconds: float) -> None:
        """Return when something has come in, or after so long."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.poll(seconds * 1000.0)

    def receive(self, now_s: float) -> None:
        """Take in what has come, without waiting.

        Raises:
            OSError: the bus is gone.
            ValueError: it sends what cannot be understood.
        """
        with contextlib.suppress(BlockingIOError):
            while data := self._socket.recv(_CHUNK_BYTES):
                self._parser.add_data(data)
                while (message := self._parser.get_next_message()) is not None:
                    self._hear(message, now_s)
            raise ConnectionResetError("it closed the connection")

    def _ask(self, service: Service, message: Message, handler: _Handler) -> None:
        serial = self._send(message)
        self._calls[serial] = (service, handler)
        service.asked(serial)

    def _send(self, message: Message) -> int:
        serial = next(self._serials)
        data = message.serialise(serial=serial)
        if self._socket.send(data) != len(data):
            raise BrokenPipeError("it does not read")
        return serial

    def _hear(self, message: Message, now_s: float) -> None:
        fields: dict[Any, Any] = message.header.fields
        kind = message.header.message_type
        sender = fields.get(HeaderFields.sender, "")
        if kind in (MessageType.method_return, MessageType.error):
            serial = fields.get(HeaderFields.reply_serial, 0)
            service, handler = self._calls.pop(serial, (None, None))
            if service is None or handler is None or service.serial != serial:
                return
            in_time = time.monotonic() - (service.asked_real_s or 0.0) < self._timeout_s
            handler(service, _reply(message), sender, now_s, in_time)
        elif kind is MessageType.signal and sender == _BUS:
            if fields.get(HeaderFields.member) == "NameOwnerChanged":
                name, _, owner = message.body
                if name in self._services:
                    _owned(self._services[name], owner)
        elif kind is MessageType.signal:
            self._properties_changed(message.body, fields, sender)

    def _properties_changed(self, body: Sequence[Any], fields: dict[Any, Any], sender: str) -> None:
        signature = fields.get(HeaderFields.signature)
        for service in self._services.values():
            if (
                isinstance(service, PropertyService)
                and service.owner == sender
                and fields.get(HeaderFields.path) == service.place.path
                and fields.get(HeaderFields.member) == "PropertiesChanged"
                and signature == "sa{sv}as"
                and body[0] == service.place.interface
            ):
                service.changed(body[1])
                service.is_due = service.is_due or bool(body[2])


def _connected(address: str, timeout_s: float) -> socket.socket:
    """A socket over which the bus has taken this user. Source: D-Bus specification."""
    until_s = time.monotonic() + timeout_s
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout_s)
        sock.connect(address)
        sock.sendall(b"\0")
        authenticator = Authenticator(inc_null_byte=False)
        for data in authenticator:
            sock.sendall(data)
            sock.settimeout(max(until_s - time.monotonic(), 0.001))
            if not (answer := sock.recv(1024)):
                raise ConnectionResetError("it closed the connection")
            authenticator.feed(answer)
        sock.sendall(BEGIN)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _reply(message: Message) -> Reply:
    if message.header.message_type is not MessageType.error:
        return Reply(message.body)
    name = str(message.header.fields.get(HeaderFields.error_name, "error"))
    text = message.body[0] if message.body else ""
    return Reply((), name, text if isinstance(text, str) else "")


def _owned(service: Service, owner: object) -> None:
    if isinstance(owner, str) and owner:
        service.appeared(owner)
    else:
        service.vanished()


def _owner_told(service: Service, reply: Reply, _: str, __: float, ___: bool) -> None:
    _owned(service, reply.body[0] if reply.body else None)


def _answered(service: Service, reply: Reply, _: str, now_s: float, in_time: bool) -> None:
    service.answered(reply, now_s, in_time=in_time)
