"""A proxy in front of a server that does to TCP what networks do.

    link = FaultProxy("/run/redis.sock")        # or ("127.0.0.1", 5432)
    ... REDIS_URL=redis://127.0.0.1:{link.port}
    link.set("stall")
    link.set("pass")

| mode | what happens to every connection, old and new, while it lasts |
|---|---|
| pass | nothing |
| delay, seconds | each piece of data comes later |
| throttle, rate | so many bytes a second in each direction |
| cut | a reset; whoever connects gets one, too |
| cut_after, count | a reset after so many bytes, counted in both directions, of each connection |
| stall | accepted, and nothing passes in any direction, not even the end of a connection |
| half_close | the client is told that the server has closed; what it still says arrives |
| lose_answers | requests arrive, answers do not; a reset once it is over |
| forget | connections of now stall for ever; new ones are served |

What is held back by a stall is delivered when it ends, as TCP delivers what it has sent again.
`target` may be changed at any time: the next connections go to the other server.
"""

import asyncio
import socket
import struct
import threading

PIECE = 65536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing resets
MODES = {
    "pass": {},
    "delay": {"seconds"},
    "throttle": {"rate"},
    "cut": {},
    "cut_after": {"count"},
    "stall": {},
    "half_close": {},
    "lose_answers": {},
    "forget": {},
}


class Link:
    """One connection of a client, and ours to the server."""

    def __init__(self, client):
        self.client = client
        self.server = None
        self.passed = 0
        self.is_torn = False  # something was swallowed: what follows would be out of step
        self.is_forgotten = False

    def reset(self):
        for writer in (self.client, self.server):
            if writer is None:
                continue
            end = writer.get_extra_info("socket")
            if end.family != socket.AF_UNIX and end.fileno() >= 0:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class FaultProxy:
    def __init__(self, target):
        """`target`: the path of a unix socket, or (host, port)."""
        self.target = target
        self.mode = "pass"
        self.options = {}
        self.links = set()
        self.accepted = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = self.call(self.listen())

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def listen(self):
        self.changed = asyncio.Event()
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=512)
        return self.server.sockets[0].getsockname()[1]

    # ---- from outside ----

    def set(self, mode, **options):
        """From here on this is how it goes; returns once it does."""
        assert options.keys() == MODES[mode] or (not options and not MODES[mode]), (mode, options)
        self.call(self.switch(mode, options))

    def move(self, target):
        """Another server has the address now: who is connected is cut off."""
        self.target = target
        self.call(self.reset_all())

    def close(self):
        self.call(self.end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    # ---- in the loop ----

    async def switch(self, mode, options):
        self.mode, self.options = mode, options
        for link in list(self.links):
            link.passed = 0
            if mode == "cut" or (link.is_torn and mode not in ("half_close", "lose_answers")):
                link.reset()
            elif mode == "half_close":
                self.half_close(link)
            elif mode == "forget":
                link.is_forgotten = True
        self.wake()

    def wake(self):
        self.changed.set()
        self.changed = asyncio.Event()

    async def reset_all(self):
        for link in list(self.links):
            link.reset()
        self.wake()

    async def end(self):
        self.server.close()
        await self.server.wait_closed()
        await self.reset_all()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def half_close(self, link):
        if link.client.can_write_eof() and not link.client.is_closing() and not link.is_torn:
            try:
                link.client.write_eof()
            except OSError:
                pass  # the client has cut it at this moment
        link.is_torn = True

    async def serve(self, reader, client):
        link = Link(client)
        self.links.add(link)
        self.accepted += 1
        try:
            await self.connect(link, reader)
        except OSError:
            pass
        finally:
            link.reset()
            self.links.discard(link)

    async def connect(self, link, reader):
        if self.mode == "cut":
            return
        await self.gate(link)
        if isinstance(self.target, str):
            answers, link.server = await asyncio.open_unix_connection(self.target)
        else:
            answers, link.server = await asyncio.open_connection(*self.target)
        if self.mode == "half_close":
            self.half_close(link)
        pumps = [
            asyncio.ensure_future(self.pump(link, reader, link.server, False)),
            asyncio.ensure_future(self.pump(link, answers, link.client, True)),
        ]
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()

    async def gate(self, link):
        """Passes when nothing stalls."""
        while self.mode == "stall" or link.is_forgotten:
            await self.changed.wait()

    async def pump(self, link, reader, writer, is_answer):
        while data := await reader.read(PIECE):
            await self.carry(link, data, writer, is_answer)
        await self.gate(link)
        if writer.can_write_eof() and not writer.is_closing() and not (is_answer and link.is_torn):
            writer.write_eof()

    async def carry(self, link, data, writer, is_answer):
        """One piece of data, however it fares."""
        await self.gate(link)
        if self.mode == "delay":
            await asyncio.sleep(self.options["seconds"])
            await self.gate(link)
        if is_answer and (link.is_torn or self.mode in ("half_close", "lose_answers")):
            link.is_torn = True
            return
        if self.mode == "throttle":
            await self.drip(link, data, writer)
            return
        if self.mode == "cut_after":
            left = self.options["count"] - link.passed
            link.passed += len(data)
            if left < len(data):
                writer.write(data[: max(left, 0)])
                await writer.drain()
                raise ConnectionResetError
        writer.write(data)
        await writer.drain()

    async def drip(self, link, data, writer):
        """A tenth of a second's worth at a time, for as long as it is asked for."""
        while data and self.mode == "throttle":
            size = max(1, int(self.options["rate"] / 10))
            writer.write(data[:size])
            await writer.drain()
            data = data[size:]
            await asyncio.sleep(size / self.options["rate"])
        await self.gate(link)
        if data:
            writer.write(data)
            await writer.drain()
