# SPDX-License-Identifier: Apache-2.0
"""
Where messages begin and end in what a PostgreSQL client and server say to each other (protocol 3.0), as far as one
must know to cut a connection at a message.
"""
UNTYPED_CODES = {80877103, 80877104}  # asks for TLS or GSS encryption; one more untyped message follows


class Conversation:
    """Both directions of one connection. A request is all that the server answers with one ReadyForQuery: the
    start-up, a plain Query, everything up to a Sync."""

    def __init__(self):
        self.to_server = bytearray()
        self.to_client = bytearray()
        self.is_typed = False    # the first messages of a client have no type, only length and code
        self.naked_bytes = 0     # answers to those that ask for encryption: one byte each
        self.requests = 0        # that are whole
        self.answers = 0

    def feed_to_server(self, data):
        """The messages that are whole now, as (bytes, does it end a request); what is not yet whole waits."""
        self.to_server += data
        found = []
        while message := take(self.to_server, 1 if self.is_typed else 0):
            if self.is_typed:
                is_end = message[:1] in (b"S", b"Q", b"F")
            elif int.from_bytes(message[4:8], "big") in UNTYPED_CODES:
                is_end, self.naked_bytes = False, self.naked_bytes + 1
            else:
                is_end = self.is_typed = True
            self.requests += is_end
            found.append((message, is_end))
        return found

    def feed_to_client(self, data):
        """As above: (bytes, does it end an answer)."""
        self.to_client += data
        found = []
        while self.naked_bytes and self.to_client:
            self.naked_bytes -= 1
            found.append((bytes(self.to_client[:1]), False))
            del self.to_client[:1]
        while message := take(self.to_client, 1):
            is_end = message[:1] == b"Z"
            self.answers += is_end
            found.append((message, is_end))
        return found


def take(buffer, head):
    """Removes the first message from a buffer when it is whole; `head` bytes stand before its length."""
    if len(buffer) < head + 4:
        return None
    size = head + int.from_bytes(buffer[head:head + 4], "big")
    if len(buffer) < size:
        return None
    message = bytes(buffer[:size])
    del buffer[:size]
    return message
