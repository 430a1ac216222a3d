"""The same for asyncio. A task that is cancelled kills the program that it waits for."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, AsyncIterator, Callable, List, Optional, Sequence, Tuple, TypeVar, Union

from .sandbox import Entry, OnOutput, Process, Result, Sandbox, Size

T = TypeVar("T")


class AsyncSandbox:
    """Waits in threads of its own: at most max_running programs run at once."""

    def __init__(self, *, max_running: int = 64, **options: Any) -> None:
        self._options = options
        self._threads = ThreadPoolExecutor(max_running, "moat")
        self._sandbox: Optional[Sandbox] = None

    async def _call(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(fn, *args, **kwargs))

    @property
    def sandbox(self) -> Sandbox:
        if not self._sandbox:
            raise RuntimeError("the sandbox has not been started: use 'async with'")
        return self._sandbox

    async def start(self) -> "AsyncSandbox":
        self._sandbox = await self._call(lambda: Sandbox(**self._options))
        return self

    async def close(self) -> None:
        if self._sandbox:
            await self._call(self._sandbox.close)
        self._threads.shutdown(wait=False)

    async def __aenter__(self) -> "AsyncSandbox":
        return await self.start()

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def _communicate(
        self, process: Process, data: Optional[bytes], on_output: Optional[OnOutput]
    ) -> Result:
        end = asyncio.ensure_future(self._call(process.communicate, data, on_output))
        try:
            return await asyncio.shield(end)
        except asyncio.CancelledError:
            process.cancel()
            await end
            raise

    async def run(
        self,
        args: Sequence[str],
        *,
        input: Union[bytes, str, None] = None,
        on_output: Optional[OnOutput] = None,
        **options: Any,
    ) -> Result:
        """As Sandbox.run(); on_output is called in the event loop's thread."""
        loop = asyncio.get_running_loop()
        data = input.encode() if isinstance(input, str) else input
        options, limits = _split(options)

        def tell(stream: int, part: bytes) -> None:
            assert on_output
            loop.call_soon_threadsafe(on_output, stream, part)

        process = await self._call(
            self.sandbox.start, args, stdin="pipe" if data else None, limits=limits, **options
        )
        return await self._communicate(process, data, tell if on_output else None)

    async def stream(self, args: Sequence[str], **options: Any) -> AsyncIterator[Union[Tuple[int, bytes], Result]]:
        """Yields (1 or 2, bytes) as output comes, and the Result at last. Leaving it early kills the
        program."""
        queue: "asyncio.Queue[Tuple[int, bytes]]" = asyncio.Queue()
        run = asyncio.ensure_future(
            self.run(args, on_output=lambda stream, part: queue.put_nowait((stream, part)), **options)
        )
        try:
            while not run.done() or not queue.empty():
                get = asyncio.ensure_future(queue.get())
                await asyncio.wait({run, get}, return_when=asyncio.FIRST_COMPLETED)
                if get.done():
                    yield get.result()
                else:
                    get.cancel()
            yield await run
        finally:
            if not run.done():
                run.cancel()
                await asyncio.wait({run})

    async def reset(self) -> None:
        await self._call(self.sandbox.reset)

    async def ping(self) -> None:
        await self._call(self.sandbox.ping)

    async def write_file(self, path: str, data: Union[bytes, str], mode: int = 0o644) -> None:
        await self._call(self.sandbox.write_file, path, data, mode)

    async def read_file(self, path: str, max_size: Size = "1G") -> bytes:
        return await self._call(self.sandbox.read_file, path, max_size)

    async def delete(self, path: str, recursive: bool = False) -> None:
        await self._call(self.sandbox.delete, path, recursive)

    async def list_files(self, path: str = "/w") -> List[Entry]:
        return await self._call(self.sandbox.list_files, path)


def _split(options: Any) -> Tuple[Any, Any]:
    """Options of Sandbox.run() as those of start(), and limits."""
    from .sandbox import Limits

    names = ("timeout", "cpu", "memory", "processes", "output")
    limits = options.pop("limits", None) or Limits(**{n: options.pop(n, None) for n in names})
    return options, limits
